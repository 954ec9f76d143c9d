# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a builder is created with: from options, from buildx's instance file and from its container. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import mask
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import trust_store
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import bypasses, is_loopback, no_proxy, no_proxy_warnings, proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirror_plan import as_name

FOLDER = "/etc/buildkit"  # where buildx puts the files of a builder in its container
TOML = "buildkitd.toml"
DRIVER = "docker-container"
# BuildKit's process asks every registry with the certificates of this folder too, beside those of its image (crypto/x509/root_unix.go).
_CERTIFICATES = f"{FOLDER}/certs/{DOCKER_HUB}"
_CERTIFICATES_OPTION = "env.SSL_CERT_DIR"
_SECRET = re.compile(r"^env\..*(?:PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|API_?KEY)", re.IGNORECASE)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*\Z")  # buildx store/util.go
# buildx adds it to the flags of every builder in a container, in one of two spellings.
_ADDED_FLAG = ("--allow-insecure-entitlement", "network.host")

Options = t.Mapping[str, t.Any]
_Read = t.Callable[[str], t.Optional[str]]  # the text of a file of the host; None if there is none


class BuilderError(Exception):
    """An option or a builder that cannot be used; the message is a complete sentence."""


class Definition(t.NamedTuple):
    image: str  # empty: the one that buildx chooses
    driver_opts: t.Dict[str, str]
    flags: t.Tuple[str, ...]
    config: t.Dict[str, t.Any]  # buildkitd.toml, with certificates in place of their paths


class Instance(t.NamedTuple):
    """A builder in buildx's own file."""

    driver: str
    nodes: int
    node: str
    endpoint: str
    definition: Definition


# --- from options ---------------------------------------------------------------------------------


def check_name(name: str) -> None:
    if not _NAME.match(name) or name == "default":
        raise BuilderError(f"name: {name!r} is not the name of a builder. Use a letter first, then letters, digits, '.', '_' and '-'; not 'default'.")


def wanted(options: Options, read: _Read) -> Definition:
    """The definition that the options ask for."""
    driver_opts = _driver_opts(options)
    for name in ("http_proxy", "https_proxy"):
        if options.get(name):
            driver_opts[f"env.{name.upper()}"] = proxy(options[name], name).url()
    exceptions = no_proxy(options.get("no_proxy") or ())
    if exceptions:
        driver_opts["env.NO_PROXY"] = ",".join(exceptions)
    _stop_at_a_password(driver_opts, options)
    authority = _certificate(options["ca"], "ca", read) if options.get("ca") else ""
    if authority:
        driver_opts[_CERTIFICATES_OPTION] = _CERTIFICATES
    return Definition(
        options.get("image") or "",
        driver_opts,
        _without_added(options.get("buildkitd_flags") or ()),
        _config(_mirrors(options), authority, read),
    )


def _driver_opts(options: Options) -> t.Dict[str, str]:
    driver_opts = {}
    for name, value in (options.get("driver_opts") or {}).items():
        variable = _variable(name)
        if not _OPTION.match(name):
            raise BuilderError(f"driver_opts: {name!r} is not the name of a driver option. Write for example network or env.NAME.")
        if variable in _PROXIES or name == "image":
            raise BuilderError(f"driver_opts: {name} has an option of its own. Set {variable or name} instead.")
        if name == _CERTIFICATES_OPTION and options.get("ca"):
            raise BuilderError(f"driver_opts: {name} is set by ca too. Remove one of the two.")
        written = json.dumps(value) if isinstance(value, bool) else str(value)
        if re.search(r"[\x00-\x1f\x7f]", written):
            raise BuilderError(f"driver_opts: the value of {name} contains a control character. Write it on one line.")
        driver_opts[name] = written
    return driver_opts


def _stop_at_a_password(driver_opts: t.Mapping[str, str], options: Options) -> None:
    for name, value in driver_opts.items():
        secret = re.search(r"://[^/]*@", value) or _SECRET.search(name)
        if secret and not options.get("allow_readable_secret"):
            variable = _variable(name)
            where = variable if variable in _PROXIES else f"driver_opts: {name}"
            if _SECRET.search(name):
                raise BuilderError(
                    f"{where} is a secret by its name, and everyone who may use Docker reads it in the builder's container (docker inspect). "
                    "Remove it, or accept this with allow_readable_secret: true."
                )
            raise BuilderError(
                f"{where} contains credentials, and everyone who may use Docker reads them in the builder's container (docker inspect). "
                "Set the address of a proxy without a password, such as that of proxy_relay, or accept this with allow_readable_secret: true."
            )


def _mirrors(options: Options) -> hosts_toml.Registries:
    try:
        registries = hosts_toml.wanted(options.get("mirrors") or {}, "mirrors")
    except hosts_toml.RegistryHostsError as error:
        raise BuilderError(str(error)) from None
    for registry, mirrors in registries.items():
        if registry == hosts_toml.DEFAULT:
            raise BuilderError(f"mirrors: BuildKit has no mirrors for every registry. Name each registry in place of {registry}.")
        for mirror in mirrors:
            if mirror.username:
                raise BuilderError(f"mirrors: {registry}: BuildKit sends no login to a mirror in buildkitd.toml. Remove the credentials, or the mirror.")
            if not as_name(mirror):
                raise BuilderError(f"mirrors: {registry}: no image name has the path of {mirror.url}. Use a mirror without override_path.")
    return registries


def _config(mirrors: hosts_toml.Registries, authority: str, read: _Read) -> t.Dict[str, t.Any]:
    tables: t.Dict[str, t.Dict[str, t.Any]] = {}
    for registry, entries in mirrors.items():
        tables.setdefault(registry, {})["mirrors"] = [as_name(mirror) for mirror in entries]
        for mirror in entries:
            table = tables.setdefault(as_name(mirror).partition("/")[0], {})
            if mirror.url.startswith("http://"):
                table["http"] = True
            if mirror.skip_verify:
                table["insecure"] = True
            if mirror.ca:
                table["ca"] = [_certificate(mirror.ca, f"mirrors: {registry}: ca", read)]
    if authority:
        for table in (tables.setdefault(DOCKER_HUB, {}), *tables.values()):
            table["ca"] = [*(certificate for certificate in table.get("ca", []) if certificate != authority), authority]
    tables = {registry: table for registry, table in tables.items() if table}
    return {"registry": tables} if tables else {}


def _certificate(certificate: str, where: str, read: _Read) -> str:
    """The option's PEM, or that of the file that it names."""
    pem = read(certificate) if certificate.startswith("/") else certificate
    if pem is None:
        raise BuilderError(f"{where}: the file {certificate} is not on this host. Correct the path.")
    try:
        return trust_store.wanted(pem)
    except trust_store.NoCertificate as error:
        raise BuilderError(str(error).replace("certificate", where, 1)) from None


def warnings(definition: Definition, options: Options) -> t.List[str]:
    """Allowed values that may not have the intended effect."""
    driver_opts = definition.driver_opts
    sentences = no_proxy_warnings(no_proxy(options.get("no_proxy") or ()))
    for name in ("http_proxy", "https_proxy"):
        url = driver_opts.get(f"env.{name.upper()}")
        if url and is_loopback(proxy(url, name)) and driver_opts.get("network") != "host":
            sentences.append(f"{name} is on this host's loopback, which the container of a builder cannot reach. Use an address that containers can reach.")
    if options.get("http_proxy") and not options.get("https_proxy"):
        sentences.append("http_proxy is not used for https URLs, such as those of Docker Hub. Set https_proxy too.")
    tables = _tables(definition.config)
    for address in sorted({mirror.partition("/")[0] for table in tables.values() for mirror in table.get("mirrors", [])}):
        plain = tables.get(address, {}).get("http")
        host, _colon, port = address.partition(":")
        used = driver_opts.get("env.HTTP_PROXY" if plain else "env.HTTPS_PROXY")
        if used and not bypasses(driver_opts.get("env.NO_PROXY", ""), host, int(port or (80 if plain else 443))):
            sentences.append(
                f"The builder connects to the mirror {address} through its proxy, because no_proxy does not contain it. "
                f"Add {host} to no_proxy, unless the mirror can only be reached through the proxy."
            )
    return sentences


# --- for buildx -----------------------------------------------------------------------------------


def files(definition: Definition) -> t.Dict[str, str]:
    """The certificates that `docker buildx create` reads, by name."""
    return {_file_name(certificate): certificate for table in _tables(definition.config).values() for certificate in table.get("ca", [])}


def toml_text(definition: Definition, folder: str = "") -> str:
    """buildkitd.toml for `docker buildx create`, with certificates in this folder; without one as it is in the container."""
    lines = []
    for registry, table in sorted(_tables(definition.config).items()):
        lines.append(f"[registry.{json.dumps(registry)}]")
        for key, value in sorted(table.items()):
            place = folder or f"{FOLDER}/certs/{registry}"
            shown = [f"{place}/{_file_name(certificate)}" for certificate in value] if key == "ca" else value
            lines.append(f"{key} = {json.dumps(shown)}")
    return "".join(f"{line}\n" for line in lines)


def _file_name(certificate: str) -> str:
    return f"buildfleet-{hashlib.sha256(certificate.encode()).hexdigest()[:12]}.pem"


def readable(definition: Definition) -> t.Dict[str, str]:
    """The driver options as everyone may read them: logins masked, and every variable that may be a secret."""
    return {name: mask.MASK if _may_be_secret(name) else mask.urls(value) for name, value in definition.driver_opts.items()}


def secrets(definition: Definition) -> t.List[str]:
    """The values of driver options that are secrets by their names."""
    return [value for name, value in definition.driver_opts.items() if _SECRET.search(name)]


def _may_be_secret(option: str) -> bool:
    return option.startswith("env.") and option != _CERTIFICATES_OPTION and _variable(option) not in _PROXIES


def _variable(option: str) -> str:
    return option.partition("env.")[2].lower()


def creation(name: str, node: str, definition: Definition, config: str) -> t.List[str]:
    """The command that creates it. Everyone can read a command line, so it contains no secret; ``with_secrets`` adds them."""
    options = dict(readable(definition), **({"image": definition.image} if definition.image else {}))
    command = ["docker", "buildx", "create", "--name", name, "--node", node, "--driver", DRIVER]
    for option, value in options.items():
        field = f"{option}={value}".replace('"', '""')
        command += ["--driver-opt", f'"{field}"']  # a line of CSV
    if definition.flags:
        command += ["--buildkitd-flags", " ".join(definition.flags)]
    return [*command, *(["--config", config] if config else [])]


def with_secrets(contents: bytes, definition: Definition) -> bytes:
    """buildx's instance file with the driver options as they are."""
    document = json.loads(contents)
    document["Nodes"][0]["DriverOpts"].update(definition.driver_opts)
    return json.dumps(document, separators=(",", ":")).encode()


# --- what there is --------------------------------------------------------------------------------


def instance(contents: bytes, path: str) -> Instance:
    """buildx's file of a builder (~/.docker/buildx/instances/NAME)."""
    try:
        document = json.loads(contents)
        nodes = document["Nodes"]
        node = nodes[0]
        options = {str(name): str(value) for name, value in (node.get("DriverOpts") or {}).items()}
        kept = {str(name): base64.b64decode(encoded) for name, encoded in (node.get("Files") or {}).items()}
        image = options.pop("image", "")
        definition = Definition(image, options, _without_added(node.get("Flags") or ()), _read_config(kept))
        return Instance(str(document["Driver"]), len(nodes), str(node["Name"]), str(node.get("Endpoint", "")), definition)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise BuilderError(f"{path}: this is not a builder as buildx stores it. Remove it with docker buildx rm first.") from error


def container(inspected: t.Mapping[str, t.Any], image: t.Mapping[str, t.Any], kept: t.Mapping[str, bytes]) -> Definition:
    """What a container really has. ``kept``: its files below /etc/buildkit."""
    config = inspected["Config"]
    of_image = (image.get("Config") or {}).get("Env") or []
    variables = dict(assignment.partition("=")[::2] for assignment in config.get("Env") or [] if assignment not in of_image)
    arguments = list(inspected.get("Args") or [])
    if arguments[:1] == ["--config"]:
        del arguments[:2]
    try:
        configuration = _read_config(kept)
    except ValueError:
        configuration = {TOML: "not valid"}
    return Definition(config.get("Image", ""), {f"env.{name}": value for name, value in variables.items()}, _without_added(arguments), configuration)


def _read_config(kept: t.Mapping[str, bytes]) -> t.Dict[str, t.Any]:
    value = toml.parse(kept.get(TOML, b"").decode(), TOML).value
    for table in _tables(value).values():
        if isinstance(table.get("ca"), list):
            table["ca"] = [_contents(str(path), kept) for path in table["ca"]]
    return {key: each for key, each in value.items() if each != {}}


def _tables(config: t.Mapping[str, t.Any]) -> t.Dict[str, t.Dict[str, t.Any]]:
    """The tables of registries; what others wrote may be something else."""
    registries = config.get("registry")
    return {registry: table for registry, table in registries.items() if isinstance(table, dict)} if isinstance(registries, dict) else {}


def _contents(path: str, kept: t.Mapping[str, bytes]) -> str:
    contents = kept.get(path[len(FOLDER) + 1 :])
    return path if contents is None else contents.decode(errors="replace")


def _without_added(flags: t.Sequence[str]) -> t.Tuple[str, ...]:
    kept: t.List[str] = []
    for flag in flags:
        kept.append(flag)
        if flag == "=".join(_ADDED_FLAG):
            del kept[-1:]
        elif tuple(kept[-2:]) == _ADDED_FLAG:
            del kept[-2:]
    return tuple(kept)


# --- the difference -------------------------------------------------------------------------------


def differences(asked: Definition, made: Definition, running: t.Optional[Definition]) -> t.List[str]:
    """What is different in the definition of buildx or in the container, by name."""
    changed = []
    if asked.image != made.image or (running and asked.image and asked.image != running.image):
        changed.append("image")
    for name in sorted({*asked.driver_opts, *made.driver_opts, *(_ours(running) if running else ())}):
        value = asked.driver_opts.get(name)
        if value != made.driver_opts.get(name) or (running and name.startswith("env.") and value != running.driver_opts.get(name)):
            changed.append(name)
    if asked.flags != made.flags or (running and asked.flags != running.flags):
        changed.append("buildkitd_flags")
    if asked.config != made.config or (running and asked.config != running.config):
        changed.append(TOML)
    return changed


def _ours(running: Definition) -> t.List[str]:
    """Variables of a container that decide how it reaches registries; buildx adds others for itself."""
    return [name for name in running.driver_opts if _variable(name) in _PROXIES or name == _CERTIFICATES_OPTION]


def text(definition: t.Optional[Definition]) -> str:
    """For the diff."""
    if definition is None:
        return ""
    lines = [f"image: {definition.image or '(of buildx)'}"]
    lines += [f"driver option {name}={value}" for name, value in sorted(readable(definition).items())]
    lines += [f"flag {flag}" for flag in definition.flags]
    for registry, table in sorted(_tables(definition.config).items()):
        for key, value in sorted(table.items()):
            lines.append(f"{TOML}: {registry}: {key} = {json.dumps([_file_name(str(certificate)) for certificate in value] if key == 'ca' else value)}")
    lines += [f"{TOML}: {key} = {json.dumps(value, sort_keys=True)}" for key, value in sorted(definition.config.items()) if key != "registry"]
    return "".join(f"{line}\n" for line in lines)
