"""Subwords: cutting texts into pieces learned from training texts, so that no word is unknown.

sentencepiece (unigram model, Kudo 2018, 1804.10959) learns the pieces and their scores; both are kept as plain data.
The cutting is our own: a unigram model never lets a piece cross a blank, so each distinct word is cut once and
remembered. The result equals sentencepiece's own (a test holds that), without its binary model file.
"""

from __future__ import annotations

import io
import math
import re
import unicodedata
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from ..spec import Spec

PADDING = 0
UNKNOWN = 1
FIRST = 2
"""Id of the first piece."""
BLANK = "\u2581"
"""What stands for the blank before a word."""
LONGEST = 16
"""Characters of the longest piece: sentencepiece's own default."""
PENALTY = 10.0
"""Score of an unknown character below the worst piece, as in sentencepiece."""
MOST_TEXTS, MOST_BYTES = 20_000, 2_000_000
"""What pieces are learned from. On Multi30k, in four languages, twice as much text took twice the
time (3.7 s for 1.9 s) and cut held-out text into 3 % fewer pieces."""
MOST_LETTERS = 4096
"""Different letters told apart where pieces are spelled out; more share ids, as in vocabularies of ideographs."""
MOST_REMEMBERED = 500_000
"""Distinct words remembered: 100 MB. Beyond, all are forgotten and remembering begins anew."""
CONTROL = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffe\uffff\ud800-\udfff]"
)


class Pieces(Spec):
    """A vocabulary that cuts texts: ids are 0 = padding, 1 = unknown, and i + 2 for `pieces[i]`.

    A piece that begins a word begins with `BLANK`. Subclasses say how a text is cut.
    """

    lower: bool = True
    pieces: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of ids: padding, unknown and the pieces."""
        return len(self.pieces) + FIRST

    @abstractmethod
    def encode(self, text: str, *, most: int) -> list[int]:
        """Ids of a text, at most `most`."""

    @abstractmethod
    def cut(self, piece: str) -> tuple[int, ...]:
        """Ids of a piece of another vocabulary, which need not be the beginning of a word."""

    def spelled(self) -> np.ndarray:
        """For each id its letters as ids of their own, int32 [size, longest piece], 0 = none.

        `UNKNOWN` stays what it is, `BLANK` is `FIRST`, then letters come as they are first met.
        """
        longest = min(max((len(piece) for piece in self.pieces), default=1), LONGEST)
        table = np.zeros((self.size, longest), dtype=np.int32)
        table[UNKNOWN, 0] = UNKNOWN
        known = {BLANK: 0}
        for place, piece in enumerate(self.pieces, FIRST):
            letters = [known.setdefault(letter, len(known)) for letter in piece[:longest]]
            # Behind the blank all others go around: two letters of one id are better than one that is not seen.
            table[place, : len(letters)] = [
                FIRST + (one if one < MOST_LETTERS - FIRST else 1 + one % (MOST_LETTERS - FIRST - 1)) for one in letters
            ]
        return table

    def encode_all(self, texts: Sequence[str | None], *, most: int) -> np.ndarray:
        """Ids of texts as [N, most], padded with 0; uint16 where that holds them."""
        result = np.zeros((len(texts), most), dtype=np.uint16 if self.size <= 65_536 else np.uint32)
        for row, text in enumerate(texts):
            if text:
                ids = self.encode(text, most=most)
                result[row, : len(ids)] = ids
        return result

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The normalised text of ids; unknown pieces as U+FFFD."""
        kept = [int(one) for one in ids if int(one) != PADDING]
        text = "".join("\ufffd" if one == UNKNOWN else self.pieces[one - FIRST] for one in kept)
        return text.replace(BLANK, " ").strip()


class Subwords(Pieces):
    """Pieces with their scores (logarithms of how likely they are), best first."""

    scores: tuple[float, ...]

    @cached_property
    def _known(self) -> dict[str, tuple[float, int]]:
        return {
            piece: (score, index + FIRST)
            for index, (piece, score) in enumerate(zip(self.pieces, self.scores, strict=True))
        }

    @cached_property
    def _words(self) -> dict[str, tuple[int, ...]]:
        return {}

    def encode(self, text: str, *, most: int) -> list[int]:
        remembered, result = self._words, list[int]()
        if len(remembered) > MOST_REMEMBERED:
            remembered.clear()
        # No piece is longer than LONGEST, so what lies further can hardly be reached.
        for word in normalise(text[: most * (LONGEST + 1)], lower=self.lower).split(" "):
            ids = remembered.get(word)
            if ids is None:
                ids = remembered[word] = self._cut(BLANK + word) if word else ()
            if ids and ids[0] == UNKNOWN and result and result[-1] == UNKNOWN:
                ids = ids[1:]
            result.extend(ids)
            if len(result) >= most:
                del result[most:]
                break
        return result

    def cut(self, piece: str) -> tuple[int, ...]:
        return self._cut(piece.lower() if self.lower else piece)

    def _cut(self, word: str) -> tuple[int, ...]:
        """Most likely pieces of a word (Viterbi); runs of unknown characters are one unknown."""
        known, length = self._known, len(word)
        unknown, longest = self._unknown, self._longest
        best = [0.0] + [-math.inf] * length
        back: list[tuple[int, int]] = [(0, 0)] * (length + 1)
        for start in range(length):
            here = best[start]
            single = False
            for stop in range(start + 1, min(length, start + longest) + 1):
                found = known.get(word[start:stop])
                if found is None:
                    continue
                single |= stop == start + 1
                if here + found[0] > best[stop]:
                    best[stop], back[stop] = here + found[0], (start, found[1])
            if not single and here + unknown > best[start + 1]:
                best[start + 1], back[start + 1] = here + unknown, (start, UNKNOWN)
        ids: list[int] = []
        place = length
        while place:
            place, piece = back[place]
            if not (piece == UNKNOWN and ids and ids[-1] == UNKNOWN):
                ids.append(piece)
        return tuple(reversed(ids))

    @cached_property
    def _unknown(self) -> float:
        return min(self.scores, default=0.0) - PENALTY

    @cached_property
    def _longest(self) -> int:
        return max((len(piece) for piece in self.pieces), default=1)


def normalise(text: str, *, lower: bool) -> str:
    """One way to write the same text: compatibility forms (NFKC), no control characters, single blanks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace(BLANK, " ")
    if not text.isprintable():
        text = CONTROL.sub("", text)
    return " ".join((text.lower() if lower else text).split())


def learn(texts: Sequence[str], *, vocabulary: int, lower: bool) -> Subwords:
    """Pieces for texts like these, at most `vocabulary`, fewer where there is little text. Deterministic."""
    from sentencepiece import SentencePieceTrainer

    sample = [normalise(text, lower=lower) for text in _sample(texts)]
    words = {word for text in sample for word in text.split(" ") if word}
    if not words:
        return Subwords(lower=lower, pieces=(BLANK,), scores=(-1.0,))
    characters = len(set().union(*words))
    # A piece that occurs a few times teaches nothing: one per ten running words or so is plenty.
    running = sum(text.count(" ") + 1 for text in sample)
    wished = min(vocabulary, characters + 8 + max(running // 10, 100))
    model = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=_lines(sample),
        model_writer=model,
        model_type="unigram",
        vocab_size=wished,
        hard_vocab_limit=False,
        character_coverage=0.9995,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        unk_id=0,
        num_threads=1,  # several add floats in another order: other pieces
        max_sentence_length=16_384,
        seed_sentencepiece_size=min(1_000_000, 20 * vocabulary),
        minloglevel=2,
    )
    return _from_model(model.getvalue(), lower=lower)


def _from_model(content: bytes, *, lower: bool) -> Subwords:
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(model_proto=content)
    places = range(1, model.get_piece_size())  # 0 is the unknown
    # Scores are float32: their shortest decimal form reads back as the same number.
    return Subwords(
        lower=lower,
        pieces=tuple(model.id_to_piece(i) for i in places),
        scores=tuple(float(str(np.float32(model.get_score(i)))) for i in places),
    )


def _sample(texts: Sequence[str]) -> list[str]:
    """Texts evenly spread, few and short enough to learn from quickly."""
    step = max(1, -(-len(texts) // MOST_TEXTS))
    spread = texts[::step]
    share = MOST_BYTES // max(1, len(spread))
    room, result = MOST_BYTES, []
    for text in sorted(range(len(spread)), key=lambda i: len(spread[i])):  # what short texts leave, long ones may use
        part = spread[text][: max(share, 200)]
        if room < len(part):
            break
        room -= len(part)
        result.append(part)
    return result


def _lines(texts: Sequence[str]) -> Iterator[str]:
    """Texts in lines short enough for sentencepiece, which leaves out longer ones."""
    for text in texts:
        for start in range(0, len(text), 4_000):
            if line := text[start : start + 4_000].strip():
                yield line
