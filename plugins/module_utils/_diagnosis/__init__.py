# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the output of a failed build means: rules, causes, fixes. Imports _core and _registry."""
