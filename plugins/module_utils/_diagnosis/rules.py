# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The messages by which a failure is recognised: one table, for the client, the engine and the programs of RUN steps."""

from __future__ import annotations

import typing as t


class Rule(t.NamedTuple):
    """The first rule whose pattern matches decides. '{1}' in the reason is the pattern's first unnamed group."""

    where: str  # the source of the message: client (the docker command itself), engine (its answers), step (the output of a RUN step)
    pattern: str
    cause: str
    reason: str = ""


# The line contains a request of Go's net/http, so that the text after it is an answer.
_ASKED = r"(?:https?://\S|dial (?:tcp|udp)|(?:read|write) (?:tcp|udp)|failed to do request|lookup |error pulling|download failed|httpReadSeeker|net/http: )"
# A proxy's answer to CONNECT: it is between the last URL and the end of a Go error, without a number.
_PROXY_WORDS = (
    r'https?://\S+?"?: (Bad Gateway|Bad Request|Blocked|Connection refused|Connection established|Filtered|Forbidden|Gateway Time-?out'
    r"|AuthorizedOnly|Internal Server Error|Method Not Allowed|Not Found|Service Unavailable|Unable to connect|Tunnel (?:or SSL )?\w+|Access [a-z]+)"
    r"\.?\s*(?:\(did you mean .*\))?$"
)
_STATUS = (
    r"(?:unexpected status(?: code)? (?:from \w+ request to )?https?://\S+?: "
    r"|(?:GET|HEAD|PUT|POST|PATCH) https?://\S+: unexpected status code |received unexpected HTTP status: |status code \[[^\]]*\]: "
    r"|failed with status: |failed to push \S+: unexpected status: |failed to copy: unexpected response: "
    r"|\bStatus (?=\d{3} trying to )|unexpected (?=\d{3} response status))"
)
_BUILDKIT_FLAGS = r"(?:mount|link|chmod|network|security|checksum|exclude|parents|keep-git-dir|unpack)"

# The builder's own end, of which nothing tells the reason.
_BARE_END = (
    r"(?:[Ee]rror: |ERROR: |buildx failed with: )*failed to (?:solve|build|receive status): (?:\w+: |rpc error: code = \w+ desc = )*"
    r"context deadline exceeded\s*$"
)

# A request of the client to the engine's API.
_API = r"https?://(?:\S*docker\.sock|[^/\s\"]+)/v1\.\d\d?/(?:build|images|containers|info|version|auth|events|networks|volumes|_ping)\b"

CLIENT = (
    # The docker command has no engine, no builder, or no Dockerfile to work with.
    Rule(
        "client",
        r"permission denied while trying to connect to the [Dd]ocker|dial unix \S*docker\S*: connect: permission denied"
        r"|Error while fetching server API version.*(?:PermissionError|Permission denied)|open //\./pipe/\S+: Access is denied",
        "engine_down",
        "permission denied",
    ),
    Rule(
        "client",
        r"error during connect: .*(?:x509: |tls: |CERTIFICATE_VERIFY_FAILED)|^(?:ERROR: )?SSL error: \[SSL|" + _API + r".*(?:x509: |tls: )",
        "engine_down",
        "the engine's certificate is not accepted",
    ),
    Rule(
        "client",
        _API + r".*(?:dial tcp|connection refused|EOF|timeout)|[Cc]annot connect to the Docker daemon|error during connect"
        r"|Is (?:the docker daemon|'docker daemon') running|failed to connect to the docker API"
        r"|[Cc]ould(?:n't| not) connect to Docker daemon|request returned (?:\d+ )?Internal Server Error for API route|docker daemon is not running"
        r"|Error while fetching server API version|dial unix \S*docker\S*: connect: (?:no such file|connection refused)"
        r"|dial unix \S*buildkitd\.sock: connect|->unix://localhost(?::\d+)?: (?!Connection reset)|Unable to reach Docker Daemon"
        r"|failed to list workers|failed to dial gRPC: unable to upgrade"
        r"|docker[/\\]transport[/\\](?:unixconn|npipe\w+|sshconn)|pipe[/\\]+docker\w*: The system cannot find|http\+docker://\S+/version"
        r"|pywintypes\.error: \(\d+, '(?:CreateFile|WaitNamedPipe)'"
        r"|Bad response from Docker engine|An HTTP request took too long to complete|UnixHTTPConnectionPool\(host='localhost'",
        "engine_down",
        "no answer",
    ),
    Rule(
        "client",
        r"error reading from server: (?:EOF|io: read/write on closed pipe|.*connection reset|.*use of closed|.*broken pipe)|transport is closing"
        r"|closing transport due to|^(?:ERROR: )?unexpected EOF$|->unix://localhost(?::\d+)?: Connection reset",
        "engine_down",
        "ended during the build",
    ),
    Rule(
        "client",
        r"docker(?:-compose)?: (?:command )?not found|The command 'docker(?:-compose)?' could not be found|'docker(?:-compose)?' is not recognized as",
        "engine_down",
        "docker is not installed",
    ),
    Rule(
        "client",
        r"buildx component is missing or broken|[Bb]uildx plugin .*(?:missing|not found)|buildx: not found|'buildx' is not a docker command"
        r"|docker-buildx: (?:exec format error|no such file|permission denied)",
        "buildx_missing",
    ),
    Rule("engine", r"unknown scheme git: not found|unable to find 'git': |^: exec: \"git\": executable file not found", "unknown", "git is missing"),
    Rule("client", r"compose build requires buildx \d", "buildx_missing", "older than compose needs"),  # compose 5
    Rule("engine", r"no space left on device|disk quota exceeded|There is not enough space on the disk", "disk_full", "no space left"),
    # Features that only BuildKit supports.
    Rule("engine", r"the (--\w[\w-]*) (?:option|flag) requires BuildKit", "legacy_cannot", "{1}"),
    Rule("engine", r'failed to parse platform : "" is an invalid|"" is an invalid (?:OS )?component', "legacy_cannot", "platform variables"),
    Rule("engine", r"the classic builder doesn't support ([\w -]+)", "legacy_cannot", "{1}"),
    Rule("engine", r"(?:Error response from daemon: .*|failed to build ?: )[Uu]nknown flag: (" + _BUILDKIT_FLAGS + r"|from)\b", "legacy_cannot", "--{1}"),
    Rule("engine", r'"(--platform)" is only supported on a Docker daemon with experimental', "legacy_cannot", "{1}"),
    # The Dockerfile or the context.
    Rule("engine", r"[Dd]ockerfile parse error[^:]*: *(.*)", "bad_dockerfile", "{1}"),
    Rule(
        "engine",
        r"([Uu]nknown instruction: \S+|base name .* should not be blank|file with no instructions|the Dockerfile (?:\([^)]*\) )?cannot be empty"
        r"|[Nn]o build stage in current context|circular dependency detected on stage: \S+|(?:[Tt]arget stage|build target"
        r"|target stage) \S+ (?:could not be found|in \S+)"
        r"|failed to reach build target \S+|failed to parse stage name \S+|failed to process \"[^\"]*\": .*|Forbidden path outside the build context.*"
        r"|When using (?:COPY|ADD) with more than one source file.*|max depth exceeded|cannot (?:copy|mount) from stage .*|invalid reserved stage name .*)",
        "bad_dockerfile",
        "{1}",
    ),
    Rule(
        "engine",
        r"(invalid reference format(?:: repository name (?:\([^)]*\) )?must be lowercase)?|invalid from "
        r"flag value \S+: index out of bounds|invalid stage index \d+)",
        "bad_dockerfile",
        "{1}",
    ),
    Rule(
        "client",
        r"(unable to prepare context: (?!unable to (?:'git clone'|download)).*|[Cc]annot locate specified Dockerfile.*|path \S+ not found"
        r"|failed to read dockerfile: (?:open|lstat|stat|error|read|no such|rpc).*(?:no such file|not found|is a directory|cannot find).*"
        r"|(?:[Ee]rror checking context[\w ]*|error from sender): .*"
        r"|\"docker (?:buildx )?build\" requires (?:exactly )?1 argument|no configuration file provided|(?:env|compose) file \S+ not found.*"
        r"|couldn't find a bake definition|failed to find target \S+)",
        "bad_dockerfile",
        "{1}",
    ),
    Rule("engine", r"ADD failed: failed to GET \S+ with status (404|410)|invalid response status (404|410)", "bad_dockerfile", "status {1}"),
    Rule("engine", r"ADD failed: failed to GET \S+ with status 407|invalid response status 407", "proxy_auth", "status 407"),
    Rule("engine", r"ADD failed: failed to GET \S+ with status (\d{3})|invalid response status (\d{3})", "unknown", "status {1}"),
    Rule("engine", r"(?:COPY|ADD) failed: (?!.*https?://)(.*)", "bad_dockerfile", "{1}"),
    Rule(
        "engine",
        r'failed to (?:calculate checksum|compute cache key)[^"]*("[^"]+"):? not found|failed to walk \S+: lstat (?:\S*/buildkit-mount\d+(?=/))?(\S+?):'
        r'|("/[^"]+"):? not found: not found'
        r"|failed to build ?: lstat (\S+): no such file or directory$",
        "bad_dockerfile",
        "{1} is not in the context",
    ),
    Rule("engine", r"(secret \S+) ?(?:: )?not found|(?:could not find|no such) (secret \S+)", "bad_dockerfile", "{1} is not given"),
)

ENGINE = (
    Rule(
        "engine",
        r"OCI runtime (?:create|exec|start)|oci runtime error|shim error: |failed to create (?:shim|runc|task)|(?:read|write|dial) unix .*shim"
        r"|hcsshim::\w+",
        "unknown",
        "the container did not start",
    ),
    Rule(
        "engine",
        r"Error processing tar file|\(HTTP code 500\) server error - unexpected EOF|Handler for POST \S*/build returned error: unexpected EOF",
        "unknown",
        "the context was not read",
    ),
    Rule("engine", r"failed to parse error response \d{3}: ", "unknown", "the cache of GitHub Actions"),
    Rule("engine", r"failed to copy to tar: ", "unknown", "no image was written"),
    # The client runs a credential helper before it uses the network.
    Rule(
        "engine",
        r'error getting credentials.*(?:exec: "?(docker-credential-[\w-]+)"?: executable file not found'
        r"|(docker-credential-[\w-]+) resolves to executable in current directory)",  # Go 1.19 and older, if PATH does not contain it
        "unknown",
        "{1} is missing",
    ),
    Rule(
        "engine",
        r"error (?:getting|storing) credentials|[Cc]redentials store docker-credential-\S+ exited|docker-credential-\S+ not installed or not available",
        "unknown",
        "credential helper",
    ),
    Rule("engine", r"no active sessions?", "unknown", "no active session"),
    Rule(
        "engine",
        r"parent snapshot \S+ does not exist|content digest \S*: not found|unlazy requires an applier|failed to get (?:state for index|edge)"
        r"|missing descriptor handlers"
        r"|lease \S+ not found|layer does not exist|ref \S+ locked|failed to get layer|unknown parent image ID|cache (?:key )?digest mismatch",
        "unknown",
        "cache of the builder",
    ),
    Rule(
        "engine",
        r"([Cc]ache export is not supported|[Mm]ultiple platforms feature is (?:currently )?not supported|Multi-platform build is not supported)"
        r" for (?:the )?docker driver",
        "unknown",
        "docker driver",
    ),
    # The proxy is on the way: its errors come before those of the host behind it.
    Rule(
        "engine",
        r"invalid proxy (?:URL|address)|invalid proxy URL (?:port|escape)|proxyconnect tcp: dial tcp: (?:address|unknown port)"
        r"|unsupported proxy scheme|proxy: unknown scheme|unknown proxy scheme",
        "proxy_unreachable",
        "malformed URL",
    ),
    Rule("engine", r"proxyconnect tcp: dial (?:tcp|udp): lookup ", "proxy_unreachable", "dns"),
    Rule("engine", r"proxyconnect tcp: .*connection refused", "proxy_unreachable", "refused"),
    Rule("engine", r"proxyconnect tcp: .*(?:network is unreachable|no route to host|host is unreachable|host is down)", "proxy_unreachable", "no route"),
    Rule("engine", r"proxyconnect tcp: .*x509: certificate signed by unknown authority", "proxy_unreachable", "unknown authority"),
    Rule("engine", r"proxyconnect tcp: (?:EOF|.*(?:tls:|x509:|TLS handshake|server gave HTTP response))", "proxy_unreachable", "tls"),
    Rule("engine", r"proxyconnect tcp: .*(?:connection reset|: EOF|forcibly closed)", "proxy_unreachable", "reset"),
    Rule("engine", r"proxyconnect tcp: .*(?:timeout|deadline exceeded|timed out)", "proxy_unreachable", "timeout"),
    Rule(
        "engine",
        r"socks connect tcp .*(?:username/password authentication failed|no acceptable authentication methods)",
        "proxy_auth",
        "wrong user or password",
    ),
    Rule("engine", r"socks connect tcp \S+?: (?:dial tcp .*?connection refused)", "proxy_unreachable", "refused"),
    Rule("engine", r"socks connect tcp .*: (?:unknown error )?([\w /]+?)\s*(?:\(did you mean .*\))?$", "proxy_refused", "{1}"),
    Rule("engine", r'https?://\S+?"?: (?:Proxy )?[Aa]uthentication ?[Rr]equired|407 Proxy Authentication', "proxy_auth", "status 407"),
    Rule("engine", r'https?://[^"\s]+": Unauthorized\s*(?:\(did you mean .*\))?$', "proxy_auth", "status 401"),
    Rule("engine", _PROXY_WORDS, "proxy_refused", "{1}"),
    # The token server refused.
    Rule(
        "engine",
        r"fetch (?:anonymous|oauth) token: unexpected status(?: code)?(?: from \S+ request to \S+| https?://\S+)?: (\d{3})",
        "token_denied",
        "status {1}",
    ),
    Rule("engine", r"authorization server did not include a token", "token_denied", "no token"),
    Rule("engine", r"fetch (?:anonymous|oauth) token: .*(?:invalid character '<'|text/html)", "registry_error", "html page"),
    Rule("engine", r'Head "https?://[^"]+/manifests/[^"]+": (unauthorized|denied)\b(?!.*(?:expired|retrieved))', "token_denied", "{1}"),
    # The registry's answer.
    Rule(
        "engine",
        r"toomanyrequests|TOOMANYREQUESTS|429 Too Many Requests|registry: too many requests|pull rate limit|[Dd]ata limit exceeded|: 429\b",
        "rate_limited",
        "status 429",
    ),
    Rule(
        "engine",
        r"no match for platform in manifest|no child with platform |no matching manifest for (?!unknown)|does not match the specified platform",
        "not_found",
        "platform",
    ),
    Rule("engine", r"content at .* not found|could not fetch content descriptor \S+|blob unknown|unknown blob", "not_found", "content missing"),
    Rule("engine", _STATUS + r"(5\d\d)", "registry_error", "status {1}"),
    Rule("engine", _STATUS + r"(402)", "registry_error", "status {1}"),
    Rule("engine", _STATUS + r"404", "not_found", "status 404"),
    Rule("engine", _STATUS + r"(403|401|400)|(?:desc =|:) unexpected status: (401|403)\b", "denied", "status {1}"),
    # Pages of registries themselves: Google's, and those of countries that they must not serve.
    Rule("engine", r"does not have permission to get URL|block access from your country|export control regulations", "denied", "not permitted"),
    Rule(
        "engine",
        r"\b413 (?:Request Entity|Payload|Content) Too Large|error parsing HTTP 413|Server error: 413|: 413\b|status code: 413",
        "registry_error",
        "too large",
    ),
    Rule("engine", r"text/html|invalid character '<' looking for beginning of value|unknown: <", "registry_error", "html page"),
    Rule("engine", r"error parsing HTTP (\d{3}) response body", "registry_error", "status {1}"),
    Rule("engine", r"no basic auth credentials", "denied", "no login"),
    Rule(
        "engine",
        r"pull access denied|insufficient_scope|(?:^|[=:] ?)Authentication is required\.|registry: authentication required"
        r"|requested access to the resource is denied|authorization failed|(?::|^) ?(?:denied|unauthorized"
        r"|UNAUTHORIZED|DENIED)\b(?!.*dial tcp)",
        "denied",
        "denied",
    ),
    Rule(
        "engine",
        r"manifest unknown|MANIFEST_UNKNOWN|NAME_UNKNOWN|manifest for \S+ (?:is )?not found|name unknown|repository \S+ not found|no matching manifest for"
        r"|(?<![\w./-])(?:[\w-]+\.)+[\w-]+(?::\d+)?/[\w./-]+(?:[:@][\w.:-]+)?: not found|failed to resolve source metadata for .*: not found"
        r"|^(?:[\w-]+\.)+[\w-]+(?::\d+)?/[\w./-]+(?:[:@][\w.-]+)? not found$",
        "not_found",
        "not found",
    ),
    Rule("engine", r"error from registry: (.{1,150})", "registry_error", "{1}"),
    # The content differs from what was requested, and nothing tells which server is responsible.
    Rule("engine", r"failed size validation|unexpected commit digest|filesystem layer verification failed", "unknown", "wrong content"),
    # No server was reached.
    Rule(
        "engine",
        r"dial (?:tcp|udp): lookup |lookup [\w.-]+(?: on [\w.:\[\]]+)?: |no such host|server misbehaving|Temporary failure in name resolution",
        "dns",
        "dns",
    ),
    Rule(
        "engine",
        r"cannot assign requested address|\[[\da-f]*:[\da-f:]+\]:\d+: connect: (?:network is unreachable|no route to host)",
        "refused",
        "no IPv6 route",
    ),
    Rule("engine", r"x509: certificate signed by unknown authority", "tls", "unknown authority"),
    Rule("engine", r"x509: certificate is valid for ([^\n]*?), not \S+", "tls", "certificate of {1}"),
    Rule("engine", r"x509: certificate has expired or is not yet valid: current time \S+ is before", "tls", "clock is behind"),
    Rule("engine", r"x509: certificate has expired or is not yet valid", "tls", "certificate expired"),
    Rule(
        "engine",
        r"doesn't contain any IP SANs|relies on legacy Common Name field|not valid for any names|x509: certificate is not valid for any names",
        "tls",
        "no SANs",
    ),
    Rule("engine", r"x509: ([^\n]*)", "tls", "{1}"),
    Rule("engine", r"server gave HTTP response to HTTPS client", "tls", "http answer"),
    Rule("engine", r"TLS handshake timeout", "timeout", "timeout"),
    Rule("engine", r"first record does not look like a TLS handshake", "tls", "http answer"),
    Rule("engine", r"certs\.d/\S+: no such file or directory", "tls", "a certificate's file is missing"),
    Rule("engine", r"(?:remote error: )?tls: (?!user canceled)([^\n]*)", "tls", "{1}"),
    Rule(
        "engine",
        r"connection reset by peer|forcibly closed by the remote host|http2: (?!server: error reading preface)|stream error: stream ID|GOAWAY|unexpected EOF"
        r"|transport connection broken: malformed HTTP response"
        r"|: EOF\b|failed to copy: io: read/write on closed pipe|(?:tcp|https?:).*(?:broken pipe|use of closed network connection)"
        r"|established connection was aborted|read on closed response body",
        "reset",
        "reset",
    ),
    Rule("engine", _ASKED + r".*connection refused|No connection could be made because the target machine actively refused", "refused", "refused"),
    Rule("engine", r"network is unreachable|no route to host|host is unreachable|host is down|unreachable (?:network|host)", "refused", "no route"),
    Rule("engine", r"Could not reach any registry endpoint", "refused", "not connected"),
    Rule(
        "engine",
        r"^(?!" + _BARE_END + r")(?:.*?)(?:i/o timeout|timeout awaiting response headers|(?:context )?deadline exceeded|DeadlineExceeded|Client\.Timeout"
        r"|connection timed out|operation timed out|request canceled|Network timed out while trying to connect to"
        r"|connected host has failed to respond|unable to connect to \S+\. Do you need an HTTP proxy)",
        "timeout",
        "timeout",
    ),
    Rule("engine", r"^" + _BARE_END, "unknown", "stopped by the builder"),
    # A token was not fetched, and the line is cut before the reason.
    Rule("engine", r"failed to fetch (?:anonymous|oauth) token: (?:Get|Post) ", "token_unreachable", "not said"),
)

# The program's name or its target must be in the line: otherwise 'refused' and 'timed out' can come from anything.
_PROGRAM = (
    r"^(?=failed: |.*(?:https?://|ftp://|\.[\w-]+:\d+\b|\.[\w-]+ port \d+|\|[\d.:a-f]+\|:\d+|curl[:#( ]|[Cc]url error|wget: "
    r"|wget2?:|fatal: |git|npm |yarn|ERR_|UND_ERR"
    r"|ConnectionPool|HTTPS?Connection\(|url[o]pen|urllib3?|requests\.exceptions|NewConnectionError|Failed to establish a new connection|Retrying"
    r"|W: |E: |Err[: ]|\[IP: |Gem::|Net::|SocketError|Errno::|Bundler"
    r"|java\.net\.|javax\.net\.|-> \[Help \d\]|Connect to |Could not (?:transfer|resolve|GET|HEAD|download|connect to)|transfer failed|Unknown host"
    r"|spurious network|os error"
    r"|\[\d+\] |Download error|Error (?:code|message): |CondaHTTPError|gpg: |ssh: |keyserver|errno=|FetchError|RequestError|reason: |cause=|dial tcp"
    r"|read tcp|error sending request"
    r"|failed retrieving file|remote host|Read error \(|HTTP request sent|GnuTLS|gnutls|TLS|SSL|SocketException|HttpRequestException|failed_connect))"
)

FULL = r"[Nn]o space left on device|ENOSPC|[Dd]isk quota exceeded|EDQUOT"
STEP = (
    Rule("step", FULL, "disk_full", "no space left"),
    # The proxy of the step.
    Rule("step", r"[Cc]ould not resolve proxy(?: name)?(?:: (?P<host>[\w.-]+))?|[Cc]ouldn't resolve proxy", "proxy_unreachable", "dns"),
    Rule(
        "step",
        r"Proxy Authentication Required|(?:code|response|status|error|statusCode)[=: '\"]*407\b|HTTP/[\d.]+ 407|ERROR 407|tunnel.*\b407\b|407 from proxy",
        "proxy_auth",
        "status 407",
    ),
    Rule(
        "step",
        r"CONNECT tunnel failed, response (\d+)|Received HTTP code (\d+) from proxy|Tunnel connection failed: (\d+)"
        r"|tunneling socket could not be established, "
        r"statusCode=(\d+)|Invalid response from proxy: HTTP/[\d.]+ (\d+)|Proxy returns \"HTTP/[\d.]+ (\d+)|failed with status code '(\d+)'",
        "proxy_refused",
        "status {1}",
    ),
    Rule("step", r"\b(403|50[0234]) +[A-Z][\w ]+\[IP: [\d.:a-f]+ 3128\]", "proxy_refused", "status {1}"),  # apt names its peer: the proxy's port
    Rule("step", r'(?:Get|Head) "https?://[^"\s]+": (Forbidden|Bad Gateway|Service Unavailable|Gateway Time-?out)$', "proxy_refused", "{1}"),
    Rule("step", r"Proxy tunneling failed: ?(\w[\w ]*)|proxyconnect tcp: (Forbidden|Bad Gateway|Service Unavailable)", "proxy_refused", "{1}"),
    Rule(
        "step",
        r"proxyconnect tcp: (?:dial tcp: lookup (?P<host>[\w.-]+)|dial tcp (?P<address>\[?[\d.:a-f]+\]?):\d+|)",
        "proxy_unreachable",
        "{how}",
    ),
    Rule(
        "step",
        r"tunneling socket could not be established, (?:cause=)?(?:.*?(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|EHOSTUNREACH"
        r"|ENETUNREACH) (?P<host>[\w.-]+))?",
        "proxy_unreachable",
        "{how}",
    ),
    Rule(
        "step",
        r"(?:Cannot|Unable to) connect to proxy(?:.*?HTTPS?Connection\(host='(?P<host>[\w.-]+)')?|Proxy CONNECT aborted|connection to proxy closed"
        r"|proxy tunnel request to proxy '\w+://(?P<url>[\w.-]+)",
        "proxy_unreachable",
        "{how}",
    ),
    # apt takes the port for the proxy's name, where the URL has no scheme.
    Rule("step", r"Cannot initiate the connection to \d+:\d+ \([\d.]+\)", "proxy_unreachable", "malformed URL"),
    # A name cannot be resolved.
    Rule(
        "step",
        r"bad address '(?P<host>[\w.-]+)|unable to resolve host address [\u2018'`\"](?P<gnu>[\w.-]+)|[Cc]ould not resolve (?:host(?:name)?"
        r"|address)(?: name)?:? [\"'\u2018(]?(?P<curl>(?!Could )[\w.-]+)"
        r"|Could not resolve '(?P<apt>\w[\w.-]*)(?!'? (?:in|from|imported)\b)(?:'|$)"
        r"|(?:Temporary failure|wicked happened) resolving '(?P<apt2>[\w.-]+)|(?:ENOTFOUND"
        r"|EAI_AGAIN) (?P<node>[\w.-]+\.[\w-]+)"
        r"|UnknownHostException:? \(?(?P<java>[\w.-]+)|Unknown [Hh]ost:? (?P<maven>[\w.-]+\.[\w-]+)|lookup (?P<go>[\w.-]+\.[\w-]+)(?: on [\w.:\[\]]+)?: "
        r"|failed to resolve address for (?P<git2>[\w.-]+)|unable to look up (?P<git>[\w.-]+)|Failed host lookup: '(?P<dart>[\w.-]+)"
        r"|Could not reach host (?P<bundler>[\w-]+(?:\.[\w-]+)+)|(?<![\w.-])(?P<maven2>[\w-]+(?:\.[\w-]+)+): (?:Name or service not known"
        r"|Temporary failure in name resolution|No address)"
        r"|(?:Name or service not known|Resource temporarily unavailable|nodename nor servname provided\S*|Try again) \((?P<dotnet>[\w.-]+):\d+\)"
        r"|TCP connection to (?P<gem>[\w.-]+):\d+ \(getaddrinfo",
        "dns",
        "dns",
    ),
    Rule(
        "step",
        r"[Cc]ould(?:n't| not) resolve host(?:name)?\b|[Uu]nable to resolve host address|getaddrinfo failed|getaddrinfo:|php_network_getaddresses"
        r"|\[Errno -[235]\]|dns error|DNS lookup (?:error|failure)|DNS: transient error|failed to lookup address information|:nxdomain"
        r"|\((?:ENOTFOUND|EAI_AGAIN)\)|failed_connect.*\bnxdomain|keyserver receive failed: Try again"
        r"|(?:code|errno:?) ['\"]?(?:ENOTFOUND|EAI_AGAIN)\b|(?:getaddrinfo|reason:).*(?:ENOTFOUND|EAI_AGAIN)$",
        "dns",
        "dns",
    ),
    Rule(
        "step",
        _PROGRAM + r".*(?:Name or service not known|Temporary failure in name resolution|No address associated with hostname"
        r"|Name does not resolve|no such host"
        r"|nodename nor servname provided|No such host is known)",
        "dns",
        "dns",
    ),
    Rule("step", r"getaddrinfo E(?!MFILE|NFILE|NOMEM)[A-Z_]+(?: (?P<host>[\w-]+(?:\.[\w-]+)+))?", "dns", "dns"),  # whatever the resolver answered
    Rule("step", r"https?://(?P<host>[\w.-]+)\S*: (?:temporary error|DNS)", "dns", "dns"),
    Rule(
        "step",
        r"host name: Just \"(?P<haskell>[\w.-]+)\".*does not exist|\bname could not be resolved: '(?P<windows>[\w.-]+)"
        r"|(?P<aria>[\w-]+(?:\.[\w-]+)+)'s DNS lookup failed|errorCode=19\b|^ERROR: [\w.+-]+: temporary error \(try again later\)"
        r"|status: \[6;",
        "dns",
        "dns",
    ),
    Rule("step", r"no such name \(https?://|UnknownHostError: timed out|No such host is known|name or address could not be resolved", "dns", "dns"),
    Rule("step", r"keyserver receive failed: No name|gpgkeys: .*[Nn]o name", "dns", "dns"),
    # The server can be reached, but its certificate is not accepted.
    Rule("step", r"certificate is not yet valid|CERT_NOT_YET_VALID|not yet activated|CertificateNotYetValid", "tls", "clock is behind"),
    Rule(
        "step",
        r"certificate (?:has|is) expired|CERT_HAS_EXPIRED|CertificateExpired|expired certificate"
        r"|certificate has expired",
        "tls",
        "certificate expired",
    ),
    Rule(
        "step",
        r"no alternative certificate subject name|certificate subject name|ALTNAME_INVALID|[Hh]ostname mismatch|NotValidForName|doesn't match either of"
        r"|x509: certificate is (?:valid for|not valid)|RemoteCertificateNameMismatch|host ?name does not match",
        "tls",
        "certificate of another name",
    ),
    Rule(
        "step",
        r"certificate verif|SSL certificate is invalid|No system certificates available|[Cc]ould not verify the (?:SSL )?certificate|CertificateFailureError"
        r"|CERTIFICATE_VERIFY_FAILED|SSL certificate problem|x509: |SELF_SIGNED_CERT|self[- ]signed certificate"
        r"|unable to get (?:local )?issuer"
        r"|UNABLE_TO_(?:VERIFY|GET)\w+|cannot verify (?P<wget>[\w.-]+)'s certificate"
        r"|certificate of ['\u2018](?P<gnu>[\w.-]+)['\u2019] (?:is not trusted|doesn.t have)"
        r"|certificate is NOT trusted|unable to find valid certification path|PKIX path|UntrustedRoot|PartialChain|UnknownIssuer|invalid peer certificate"
        r"|SSL peer certificate or SSH remote key was not OK|server certificate not trusted|problem confirming the ssl certificate"
        r"|RemoteCertificateChainErrors|remote certificate (?:is invalid|was rejected)"
        r"|Could not establish trust relationship|status: \[60;"
        r"|unable to verify the first certificate|error setting certificate (?:verify locations|file)|https?://(?P<apk>[\w.-]+)\S*: +Permission denied",
        "tls",
        "unknown authority",
    ),
    Rule(
        "step",
        _PROGRAM + r".*(?:wrong version number|packet length too long|first record does not look like a TLS|server gave HTTP response"
        r"|plaintext connection|Unsupported or unrecognized SSL message|unexpected TLS packet)",
        "tls",
        "http answer",
    ),
    Rule(
        "step",
        r"[Uu]nderlying connection was closed: .*on a send|"
        + _PROGRAM
        + r".*(?:alert protocol version|alert handshake failure|protocol_version|handshake_failure|unsupported protocol|dh key too small"
        r"|no protocols available"
        r"|unsafe legacy renegotiation)|[Tt]he server may not support the client's requested TLS",
        "tls",
        "version or cipher",
    ),
    # The connection was closed.
    Rule(
        "step",
        r"SSL_ERROR_SYSCALL(?: in connection to (?P<curl>[\w.-]+))?|SSL protocol error in connection to (?P<curl2>[\w.-]+)"
        r"|gnutls_handshake\(\) failed|GnuTLS recv error"
        r"|non-properly terminated|Error in the pull function|EOF occurred in violation of protocol|unexpected eof while reading"
        r"|[Rr]emote host (?:closed|terminated)"
        r"|[Uu]nderlying connection was closed: .*on a receive|(?:from|to) the transport connection|connection was closed before all data"
        r"|[Ss]erver closed (?:the )?connection|SSL_connect SYSCALL returned"
        r"|RemoteDisconnected|Remote end closed connection|socket hang up|ECONNRESET|Client network socket disconnected|Empty reply from server"
        r"|transfer closed with"
        r"|unexpected disconnect while reading|HTTP/2 stream \d+ was|HTTP2 framing|IncompleteRead|Premature (?:end of|close)|ERR_STREAM_PREMATURE_CLOSE"
        r"|too many connection resets|tls handshake eof|kex_exchange_identification|Unable to establish SSL connection|:econnreset|SSL connect error"
        r"|curl: \((?:18|52|55|56|92)\)"
        r"|Connection aborted|connection aborted|ConnectionClosed downloading|Send failure: |TLS connect error: error:0{8}|status: \[(?:35|56);"
        r"|(?:https?://\S+): unexpected end of file|Get \"?https?://\S+: (?:unexpected )?EOF|RPC failed; (?:curl (?:18|35|52|55|56|92)"
        r"|result=(?:18|35|52|55|56|92))"
        r"|stream error: stream ID \d+; INTERNAL_ERROR|http2: (?:client connection lost|server sent GOAWAY)|Bad header line|error decoding response body"
        r"|reading HTTP \w+ response: (?:unexpected )?EOF|error reading from the zlib stream|bad packet length|Tried to reconnect at offset"
        r"|Undetermined Error \[IP"
        r"|received early EOF|fatal: early EOF",
        "reset",
        "reset",
    ),
    Rule("step", _PROGRAM + r".*(?:[Cc]onnection (?:was )?reset|forcibly closed|errno=Connection reset)", "reset", "reset"),
    # No answer, or no connection.
    Rule(
        "step",
        _PROGRAM + r".*(?:No route to host|[Nn]etwork is unreachable|[Hh]ost is unreachable|[Cc]annot assign requested address|Address not available)"
        r"|\bENETUNREACH|EHOSTUNREACH|EADDRNOTAVAIL|\[Errno (?:99|101|113)\]",
        "refused",
        "no route",
    ),
    Rule("step", r"connect to (?P<host>[\w.-]+)(?: port |:)\d+ after \d{5,} ms", "timeout", "timeout"),
    Rule(
        "step",
        r"Failed to connect to (?P<host>[\w.-]+)(?: port |:)\d+.*(?:refused|Couldn't connect|Could not connect)|connect\(2\) for \"(?P<gem>[\w.-]+)\"",
        "refused",
        "refused",
    ),
    Rule("step", r"Unable to connect to the remote server|status: \[7;|FailedToOpenSocket downloading", "refused", "not connected"),
    Rule("step", _PROGRAM + r".*[Cc]onnection refused|ECONNREFUSED|:econnrefused|ConnectionRefused downloading", "refused", "refused"),
    Rule(
        "step",
        r"ESOCKETTIMEDOUT|ETIMEDOUT|ERR_SOCKET_TIMEOUT|EIDLETIMEOUT|UND_ERR_\w+_TIMEOUT|Connect(?:ion)?TimeoutError|ReadTimeoutError"
        r"|ConnectTimeout|ReadTimeout|Net::\w+Timeout"
        r"|execution expired|timeout awaiting response headers|SocketTimeoutException:|java\.net\.SocketTimeoutException|ConnectTimeoutException:"
        r"|Connection to (?P<pip>[\w.-]+) timed out|Operation too slow|i/o timeout|TLS handshake timeout"
        r"|network timeout at|has timed out after|trouble with your network connection|:etimedout|failed_connect.*\btimeout|Timeout exceeded when accessing"
        r"|\(ConnectionTimeout\)|Timeout of \d+ seconds was reached|Caused by: operation timed out|net/http: request canceled|errorCode=2\b|status: \[28;"
        r"|https?://\S+ failed: timeout|Timeout was reached|Operation timed out after|timed out \(https?://|[Cc]onnect timed out|Read timed out"
        r"|curl: \(28\)|Curl error \(28\)|curl#28"
        r"|connected host has failed to respond|https?://\S+ within \d+ ?s\b|https?://.*[Ee]xit ?code 28\b"
        r"|The (?:read|write|handshake) operation timed out|[a-z]ing .* key timed out",
        "timeout",
        "timeout",
    ),
    Rule("step", r"─▶ (?:operation timed out|.*\btimed out\b)|\(:timeout\)|^\s*:timeout$|\*\* \(EXIT\) time out", "timeout", "timeout"),
    Rule("step", r"─▶ .*(?:connection reset|connection closed)", "reset", "reset"),
    Rule("step", _PROGRAM + r".*(?:timed out|timeout was reached|deadline exceeded|Socket timeout|timed-out)", "timeout", "timeout"),
    Rule("step", r"(?:could not connect to server|network error) \(check|could not connect to server$|network error$", "refused", "not connected"),
    Rule("step", r"(?:Unable|Failed) to connect to (?P<host>[\w.-]+)(?::\w*:| port \d+)|Connection failed \[IP", "refused", "not connected"),
)

# A program whose download failed without a reason: no process is named.
UNCLEAR = (
    Rule("step", r"is not valid yet \(invalid for another", "step_failed", "clock is behind"),
    Rule(
        "step",
        r"error (?:NU1301)?: Unable to load the service index|Failed to retrieve information about .* from remote source|Transfer failed for https?://\S+$"
        r"|Could not fetch specs from|HTTP 000 CONNECTION FAILED|Failed to fetch .* from Google Fonts"
        r"|All attempts to connect to \S+ failed|unable to access index for repository|Unexpected token '?<'? |does the network require authentication"
        r"|keyserver receive failed: (?:Server indicated a failure|No data)|^Website may be down|could not be downloaded\W*$",
        "step_failed",
        "a download that failed without saying why",
    ),
)

RULES = CLIENT + ENGINE + STEP + UNCLEAR
