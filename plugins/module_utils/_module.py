# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options in, result out: the only file that uses AnsibleModule, and the last place that masks."""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import MASK, Secrets

# Options that contain only a secret, and those with a URL that may contain one.
_SECRET_OPTIONS = ("proxy_password", "proxy_username")
_LOGIN_KEYS = ("username", "password")  # within options that are dictionaries
_URL_OPTIONS = ("http_proxy", "https_proxy")
# Options that contain no '@' when they are correct: text before one is a login.
_ADDRESS_OPTIONS = (
    "candidates",
    "mirrors",
    "registry_mirrors",
    "registries",
    "insecure_registries",
    "builder_mirrors",
    "driver_opts",
    "source_policy",
    "no_proxy",
    "env",
    "network_step",
    "step_proxy",
)


class Module(AnsibleModule):
    """An AnsibleModule that masks all of its output, argument errors included.

    Options with credentials are declared without Ansible's no_log: it would hide
    a whole URL, and with the password '12' blank every '12' of a result.
    """

    params: t.Dict[str, t.Any]

    def __init__(self, host: t.Any = None, **kwargs: t.Any) -> None:
        """``host``: the class of the host, for a module that needs one; to send and import it takes 20 ms."""
        self._host = host
        self.secrets = Secrets()
        super().__init__(**kwargs)
        self._learn()

    def _load_params(self) -> None:
        super()._load_params()
        # Surveys send an empty answer for "not given", whatever the type of the option.
        self.params = {name: value for name, value in self.params.items() if value != "" or name.startswith("_ansible")}

    @property
    def host(self) -> t.Any:
        return self._host(label=self._selinux_label)

    def _selinux_label(self, temporary: str, target: str) -> None:
        if self.selinux_enabled():
            context = self.selinux_context(target) if os.path.exists(target) else self.selinux_default_context(target)
            self.set_context_if_different(temporary, context, False)

    def exit_json(self, **kwargs: t.Any) -> t.NoReturn:
        super().exit_json(**self._masked(kwargs))

    def fail_json(self, msg: str, **kwargs: t.Any) -> t.NoReturn:
        kwargs.pop("exception", None)
        kwargs = self._masked(dict(kwargs, msg=msg))
        super().fail_json(**kwargs)

    def log(self, msg: str, log_args: t.Any = None) -> None:
        """Does nothing: Ansible would write every option to the host's journal (the task's no_log overrides __init__'s no_log=True)."""

    def warn(self, warning: str, **kwargs: t.Any) -> None:
        super().warn(self.secrets.text(warning), **kwargs)

    def _learn(self) -> None:
        for options in (self.params, self.params.get("step_proxy")):
            for name in _URL_OPTIONS:
                if isinstance(options, dict) and isinstance(options.get(name), str):
                    self.secrets.learn_url(options[name])
        for name in _ADDRESS_OPTIONS:
            for text in _texts(self.params.get(name)):
                self.secrets.learn_url(text)
        if self.params.get("proxy_password"):
            self.secrets.learn(str(self.params["proxy_password"]))
        for text in _passwords(self.params.get("registries")):
            self.secrets.learn(text)

    def _masked(self, result: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
        self._learn()  # an argument error arrives here before __init__ has ended
        shown = {name: MASK if name in _SECRET_OPTIONS and value else _without_logins(value) for name, value in self.params.items()}
        masked = self.secrets.tree(dict(result, invocation={"module_args": shown}))
        return t.cast("t.Dict[str, t.Any]", masked)


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for text in (*value, *value.values()):
            yield from _texts(text)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def _passwords(value: t.Any) -> t.Iterator[str]:
    """The passwords in an option that is a tree of dictionaries and lists."""
    if isinstance(value, dict):
        if value.get("password"):
            yield str(value["password"])
        for one in value.values():
            yield from _passwords(one)
    elif isinstance(value, list):
        for one in value:
            yield from _passwords(one)


def _without_logins(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {key: MASK if key in _LOGIN_KEYS and one else _without_logins(one) for key, one in value.items()}
    return [_without_logins(one) for one in value] if isinstance(value, list) else value


def run(work: t.Callable[[Module], t.Dict[str, t.Any]], **kwargs: t.Any) -> None:
    """main() of every module: do the work, exit with its result, or fail with one sentence."""
    module = Module(**kwargs)
    try:
        result = work(module)
    except Refused as refusal:
        module.fail_json(msg=str(refusal), **refusal.result)
    except Exception as error:  # a traceback could quote a secret
        module.fail_json(msg=f"Internal error, please report it: {type(error).__name__}: {error}", where=_where(error))
    module.exit_json(**result)


def _where(error: BaseException) -> t.List[str]:
    import traceback

    return [f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
