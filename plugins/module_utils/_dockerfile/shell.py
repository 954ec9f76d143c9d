# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shell words as BuildKit reads them (frontend/dockerfile/shell/lex.go), each character with its position.

The position makes an edit exact: a character of an evaluated reference is edited where it was written,
in the word itself or in the ARG that it came from.
"""

from __future__ import annotations

import re
import typing as t

SPACES = " \t\n\v\f\r"
LONGEST = 65536  # characters of a value; no image name comes near it
LONGEST_SEARCHED = 1000  # characters that ${X/a/b} is followed in
NOWHERE = -1
UNKNOWN = -2

_NAME = re.compile(r"[0-9]+|[@*#?\-$!0]|[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PIECE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)|[^$]+", re.ASCII)
_SIMPLE = re.compile(r"(?:[^$'\"]|\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$[A-Za-z_][A-Za-z0-9_]*)*", re.ASCII)
_TOO_DEEP = "it is nested too deeply to be followed"
_TOO_LONG = f"its value is longer than {LONGEST} characters"
_TOO_LONG_TO_SEARCH = f"it searches a value of more than {LONGEST_SEARCHED} characters"
BEYOND_US = frozenset([_TOO_DEEP, _TOO_LONG, _TOO_LONG_TO_SEARCH])
_PATTERN_ESCAPES = {"*", "?", "\\"}


class ShellError(ValueError):
    """BuildKit refuses this word, unless the message is one of ``BEYOND_US``."""


class Text(t.NamedTuple):
    """A word or a value, and of each of its characters two places."""

    text: str
    origin: t.Sequence[int]  # where it was written
    own: t.Sequence[int]  # where it, or the $ that it came through, stands in the word


class _Char(t.NamedTuple):
    text: str
    origin: int
    own: int
    splits: bool = False


class Empty(t.NamedTuple):
    """A variable that gave nothing."""

    before: int  # the number of characters before it
    start: int
    end: int
    spelling: str


Look = t.Callable[[str], t.Optional[Text]]


def written(text: str, origin: t.Sequence[int]) -> Text:
    return Text(text, origin, origin)


def _plain(chars: t.Iterable[_Char]) -> str:
    return "".join([char.text for char in chars])


class Lexer:
    """One word to its value.

    ``raw`` keeps quotes and escapes and ``keep_unset`` the variables that nobody set, as the search for heredocs does.
    """

    def __init__(
        self,
        word: Text,
        escape: str,
        look: Look,
        unset_is_unknown: bool = False,
        keep_unset: bool = False,
        raw: bool = False,
        blank_after_arrows: bool = False,
    ) -> None:
        self._word = [_Char(*char) for char in zip(*word)]
        self._escape = escape
        self._value_of = look
        self._unset_is_unknown = unset_is_unknown
        self._keep_unset = keep_unset
        self._raw = raw
        self._blank_after_arrows = blank_after_arrows
        self._at = 0
        self._depth = 0
        self.empty: t.List[Empty] = []
        self.unset: t.List[str] = []

    def value(self) -> Text:
        chars = self._until("", self._raw)
        return Text(_plain(chars), [char.origin for char in chars], [char.own for char in chars])

    def words(self) -> t.List[str]:
        parts: t.List[str] = []
        word = ""
        for char in self._until("", self._raw):
            if char.splits and char.text in SPACES:
                if word:
                    parts.append(word)
                word = ""
            else:
                word += char.text
        return [*parts, word] if word else parts

    def _look(self, name: str) -> t.Optional[t.List[_Char]]:
        value = self._value_of(name)
        return None if value is None else [_Char(*char) for char in zip(*value)]

    def _peek(self) -> str:
        return self._word[self._at].text if self._at < len(self._word) else ""

    def _next(self) -> _Char:
        self._at += 1
        return self._word[self._at - 1]

    def _until(self, stop: str, raw_escapes: bool) -> t.List[_Char]:
        out: t.List[_Char] = []
        while self._peek():
            char = self._peek()
            if char == stop:
                self._at += 1
                return out
            if char == "$":
                out += [part._replace(splits=True) for part in self._dollar(len(out))]
                _refuse_long(out)
            elif char == "'":
                out += self._single_quoted()
            elif char == '"':
                out += self._double_quoted(raw_escapes, len(out))
            elif char == "<" and self._blank_after_arrows:
                out += self._arrows()
            elif char == self._escape:
                taken = self._next()
                if raw_escapes:
                    out.append(taken)
                if self._peek():
                    out.append(self._next())
            else:
                out.append(self._next()._replace(splits=True))
        if stop:
            raise ShellError(f"{stop} is missing")
        return out

    def _single_quoted(self) -> t.List[_Char]:
        out = [self._next()] if self._raw else self._skip()
        while self._peek():
            if self._peek() == "'":
                return out + ([self._next()] if self._raw else self._skip())
            out.append(self._next())
        raise ShellError("a single quote is not closed")

    def _double_quoted(self, raw_escapes: bool, before: int) -> t.List[_Char]:
        out = [self._next()] if self._raw else self._skip()
        while self._peek():
            if self._peek() == '"':
                return out + ([self._next()] if self._raw else self._skip())
            if self._peek() == "$":
                out += self._dollar(before + len(out))
                _refuse_long(out)
                continue
            char = self._next()
            if char.text == self._escape:
                if raw_escapes:
                    out.append(char)
                if not self._peek():
                    continue
                if self._peek() in ('"', "$", self._escape):
                    char = self._next()
            out.append(char)
        raise ShellError("a double quote is not closed")

    def _skip(self) -> t.List[_Char]:
        self._at += 1
        return []

    def _arrows(self) -> t.List[_Char]:
        out = [self._next()._replace(splits=True)]
        if self._peek() == "<":
            out.append(self._next())
            while self._peek() in ("\t", "\r", " "):
                out.append(self._next())
        return out

    def _dollar(self, before: int) -> t.List[_Char]:
        start = self._at
        self._depth += 1
        value = self._substitution(start)
        self._depth -= 1
        if self._depth:
            return value
        place = self._word[start].own
        if not value:
            spelling = _plain(self._word[start : self._at])
            self.empty.append(Empty(before, place, self._word[self._at - 1].own + 1, spelling))
        return [char._replace(own=place) for char in value]

    def _substitution(self, start: int) -> t.List[_Char]:
        self._at += 1
        if self._peek() != "{":
            name = self._name()
            return self._variable(name, start) if name else [self._word[start]]
        self._at += 1
        if self._peek() in ("", "{", "}", ":"):
            raise ShellError("a substitution has no name")
        name = self._name()
        sign = self._sign()
        if sign == "}":
            return self._variable(name, start)
        if sign == "/":
            return self._replaced(name, start)
        if sign in (":#", ":%") or (sign[0] != ":" and sign not in ("+", "-", "?", "#", "%")):
            raise ShellError(f"the modifier {sign} is not known")
        return self._modified(name, sign, self._until("}", sign in ("#", "%")), start)

    def _modified(self, name: str, sign: str, word: t.List[_Char], start: int) -> t.List[_Char]:
        """The value of ${name<sign>word}."""
        value = self._look(name)
        if value is None and self._keep_unset:
            return self._word_between(start, name + sign, word)
        missing = value is None or (sign[0] == ":" and not value)
        if sign[-1] == "-":
            return word if missing else value or []
        if sign[-1] == "+":
            return [] if missing else word
        if sign[-1] == "?":
            return self._required(name, value) if missing else value or []
        if sign not in ("#", "%"):  # ${X:y} is not an error if unset variables stay as written
            raise ShellError(f"the modifier {sign} is not known")
        return _trimmed(value or [], word, sign)

    def _required(self, name: str, value: t.Optional[t.List[_Char]]) -> t.List[_Char]:
        if value is not None:
            raise ShellError(f"{name} must not be empty")
        if self._unset_is_unknown:
            return [_Char("x", UNKNOWN, UNKNOWN)]
        self.unset.append(name)
        return []

    def _sign(self) -> str:
        if not self._peek():
            raise ShellError("} is missing")
        sign = self._next().text
        if sign == ":":
            sign += self._peek()
            self._at += 1
        return sign

    def _name(self) -> str:
        match = _NAME.match(_plain(self._word[self._at : self._at + 200]))
        if not match:
            return ""
        self._at += match.end()
        return match.group()

    def _variable(self, name: str, start: int) -> t.List[_Char]:
        value = self._look(name)
        if value is not None:
            return value
        if self._keep_unset:
            return list(self._word[start : self._at])
        self.unset.append(name)
        return [_Char("x", UNKNOWN, UNKNOWN)] if self._unset_is_unknown else []

    def _replaced(self, name: str, start: int) -> t.List[_Char]:
        every = self._peek() == "/"
        self._at += every
        pattern = self._until("/", True)
        replacement = self._until("}", True)
        value = self._look(name)
        if value is None and self._keep_unset:
            return self._word_between(start, name + "/", [*pattern, self._word[start]._replace(text="/"), *replacement])
        out: t.List[_Char] = []
        done = 0
        chars = value or []
        for start, end in _matches(_pattern(_plain(pattern)), _plain(chars), every):
            out += chars[done:start] + replacement
            done = end
        return out + chars[done:]

    def _word_between(self, start: int, head: str, word: t.List[_Char]) -> t.List[_Char]:
        place = self._word[start]
        return [place._replace(text=char) for char in "${" + head] + word + [place._replace(text="}")]


def expand(word: Text, escape: str, look: Look, unset_is_unknown: bool = False) -> t.Tuple[Text, t.List[Empty], t.List[str]]:
    """The value, the variables that gave nothing, and the names that nobody set."""
    if not unset_is_unknown and escape not in word.text and _SIMPLE.fullmatch(word.text):
        return _expand_simple(word, look)
    lexer = Lexer(word, escape, look, unset_is_unknown)
    try:
        return lexer.value(), lexer.empty, lexer.unset
    except RecursionError:
        raise ShellError(_TOO_DEEP) from None


def _expand_simple(word: Text, look: Look) -> t.Tuple[Text, t.List[Empty], t.List[str]]:
    """The common case at a tenth of the time: plain text, $NAME and ${NAME}."""
    text = ""
    origin: t.List[int] = []
    own: t.List[int] = []
    empty: t.List[Empty] = []
    unset: t.List[str] = []
    for match in _PIECE.finditer(word.text):
        start, end = match.span()
        name = match.group(1) or match.group(2)
        if not name:
            text += match.group()
            origin += word.origin[start:end]
            own += word.own[start:end]
            continue
        known = look(name)
        if known is None:
            unset.append(name)
        place = word.own[start]
        if known and known.text:
            text += known.text
            _refuse_long(text)
            origin += known.origin
            own += [place] * len(known.text)
        else:
            empty.append(Empty(len(text), place, word.own[end - 1] + 1, match.group()))
    return Text(text, origin, own), empty, unset


def _refuse_long(value: t.Sized) -> None:
    if len(value) > LONGEST:
        raise ShellError(_TOO_LONG)


def _trimmed(value: t.List[_Char], pattern: t.List[_Char], sign: str) -> t.List[_Char]:
    """``#`` and ``%`` cut the shortest match, doubled the longest, off the front or the end."""
    text = _plain(pattern)
    longest = text[:1] == sign
    shape, whole = _pattern(text[1:] if longest else text), _plain(value)
    lengths = _ends(shape, whole, 0) if sign == "#" else _ends(shape[::-1], whole[::-1], 0)
    if not lengths:
        return value
    length = max(lengths) if longest else min(lengths)
    return value[length:] if sign == "#" else value[: len(value) - length]


_ANY, _ONE = "*", "?"  # as parts of a pattern; other characters are doubled


def _pattern(text: str) -> t.List[str]:
    parts: t.List[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\":
            following = text[at : at + 1]
            if following in ("}", "/"):
                continue  # the escape only kept the word open
            if following not in _PATTERN_ESCAPES:
                raise ShellError(f"\\{following} is not known in a pattern")
            at += 1
            parts.append(following * 2)
        else:
            parts.append(char if char in (_ANY, _ONE) else char * 2)
    return parts


def _ends(pattern: t.Sequence[str], text: str, start: int) -> t.Set[int]:
    """Where a match that begins at ``start`` may end, in time that grows with both lengths alone."""
    ends = {start}
    for part in pattern:
        if part == _ANY:
            ends = set(range(min(ends, default=len(text) + 1), len(text) + 1))
        else:
            ends = {end + 1 for end in ends if end < len(text) and part in (_ONE, text[end] * 2)}
    return ends


def _matches(pattern: t.Sequence[str], text: str, every: bool) -> t.Iterator[t.Tuple[int, int]]:
    """The longest matches, one behind the other; an empty one does not follow another at once."""
    if len(text) > LONGEST_SEARCHED:
        raise ShellError(_TOO_LONG_TO_SEARCH)
    at, last = 0, -1
    while at <= len(text):
        end = max(_ends(pattern, text, at), default=-1)
        if end < 0 or (end == at and at == last):
            at += 1
            continue
        yield at, end
        if not every:
            return
        at, last = max(end, at + (end == at)), end
