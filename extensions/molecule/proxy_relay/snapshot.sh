# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Prints the state that undo must restore: packages, units, and every file with its type, mode, owner, target and, of configuration, contents.
dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Abbrev}\n'
systemctl list-unit-files --no-legend --no-pager | awk '{print "unit", $1, $2}'
getent passwd
getent group
# Left out: copies that useradd and passwd keep, and what docker and Ansible write for a user who runs them.
find /etc /root /home /usr /opt /srv /var/lib /var/spool /var/log -xdev \
  \( -path /var/lib/docker -o -path /var/lib/containerd -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd -o -path /var/lib/packages \
  -o -path /var/log/journal -o -path '*/.docker' -o -path '*/.ansible' -o -name __pycache__ \) -prune -o -path '/etc/*-' -o -path '/var/log/*' -type f -o \
  -printf '%y %m %U:%G %p %l\n'
find /etc /root /home -xdev \( -path '*/.docker' -o -path '*/.ansible' \) -prune -o -path '/etc/*-' -o -type f -exec md5sum {} +
