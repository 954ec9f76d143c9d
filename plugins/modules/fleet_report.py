#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_report
short_description: Report the results of all hosts of a play as one page, as JSON and in the terminal
version_added: 1.0.0
description:
  - Uses the results of M(buildfleet.docker.docker_build_check) and M(buildfleet.docker.docker_build_info) on every host of the play, including hosts that
    failed or are unreachable, and writes one HTML file that needs no network, and the same data as JSON.
  - The results are read from the variables C(docker_build_check_result) and C(docker_build_info_result), and, for differences from the variables, from
    C(proxy_ca_result), C(docker_daemon_proxy_result), C(docker_build_env_result) and C(dockerfile_mirror_result), registered in check mode. The roles of
    these names register them.
  - C(registry_mirror_info_result) of M(buildfleet.docker.registry_mirror_info), if registered, shows which mirror in use does not work.
  - The playbook C(buildfleet.docker.report) does all of this.
  - Runs once for all hosts of a play, on the controller, and needs the linear strategy without batches (C(serial)).
author:
  - The buildfleet authors (@buildfleet)
attributes:
  check_mode:
    description: In check mode the table is shown and no file is written.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
  idempotent:
    description: The page contains its time, so each run writes it again. No host is changed.
    support: partial
  platform:
    description: Where the action runs.
    platforms: posix
    support: full
  bypass_host_loop:
    description: It runs once for all hosts of the play.
    support: full
options:
  caches:
    description:
      - What each host that runs the role C(registry_cache) counted (its fact C(registry_cache_health)), by the host's name. The page, the JSON and the
        table show it.
    type: dict
    version_added: 1.1.0
  dest:
    description:
      - The file of the page on the controller, readable by its owner only. A relative path starts at the directory in which the playbook was started.
      - If not set, no file is written.
    type: path
  json:
    description: The file of the JSON. The default is O(dest) with the extension C(.json).
    type: path
  table:
    description: Whether a short table is printed. Set it to V(false) for a callback whose output is read by a program.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Observe the fleet and write a page
  hosts: build_servers
  become: true
  ignore_unreachable: true
  tasks:
    - name: Collect effective settings
      buildfleet.docker.docker_build_info:
      register: docker_build_info_result

    - name: Run test build
      buildfleet.docker.docker_build_check:
        environment_of: login
        required: false
      register: docker_build_check_result
      when: docker_build_info_result is not unreachable

    - name: Write page
      buildfleet.docker.fleet_report:
        dest: report.html
"""

RETURN = r"""
msg:
  description: The fleet in one line.
  type: str
  returned: success
  sample: "3 hosts: 1 works, 1 unreachable, 1 fails. 1 restart pending."
counts:
  description: How many hosts are in which state.
  type: dict
  returned: success
  contains:
    hosts:
      description: All hosts.
      type: int
    ok:
      description: The build passed, and nothing differs from the variables.
      type: int
    drifted:
      description: Something differs from the variables.
      type: int
    failed:
      description: The build failed.
      type: int
    unreachable:
      description: Ansible could not connect to the host.
      type: int
    unproved:
      description: Nothing was built, as in check mode.
      type: int
    restart_pending:
      description: A restart of the daemon or of a service is pending.
      type: int
    with_errors:
      description: M(buildfleet.docker.docker_build_info) found an error.
      type: int
    with_warnings:
      description: It found a warning, and no error.
      type: int
files:
  description: The files that were written.
  type: list
  elements: str
  returned: success
ansible_stats:
  description:
    - What M(ansible.builtin.set_stats) would return, so that AWX keeps the counts and the hosts that are not ok as an artifact.
    - The key is derived from the names of the hosts, so that slices of a job do not overwrite one another.
  type: dict
  returned: success
"""
