"""Any sampler of Optuna as a generator (Akiba et al. 2019, arXiv:1907.10902); needs the extra `search`.

Optuna asks for each parameter while the thing is built (define by run), as a space does, so its samplers answer choices
directly. The study lives in memory: the ledger is the record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...spec import BadInput
from ..choices import Offer, Sketch, Trace, first, offer_of
from .base import Draw, Experience, Generator, News

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import Trial


class Optuna(Generator):
    """Answers by a sampler, TPE (Bergstra et al. 2011) unless another is given. Each finished rung is a trial."""

    name: ClassVar[str] = "optuna"

    def __init__(
        self, draw: Draw, *, seed: int, experience: Experience | None = None, sampler: BaseSampler | None = None
    ) -> None:
        super().__init__(draw, seed=seed, experience=experience)
        try:
            import optuna
        except ImportError as error:
            raise BadInput(
                "the generator 'optuna' needs a package that is not installed",
                remedy="Install the extra: pip install 'polymath-learn[search]'.",
            ) from error
        self._optuna = optuna
        loud = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a new study is no news to our users
        self._study = optuna.create_study(
            direction="maximize", sampler=sampler or optuna.samplers.TPESampler(seed=seed)
        )
        optuna.logging.set_verbosity(loud)
        self._asked: dict[str, Trial] = {}
        """Digest of a proposal's trace -> the trial that Optuna keeps open for it."""

    def propose(self, number: int) -> Sketch:
        trial = self._study.ask()

        def answer(offer: Offer) -> float:
            if not offer.is_open:
                return first(offer)
            name = _parameter(offer)
            if offer.options:
                return float(trial.suggest_categorical(name, list(range(offer.options))))
            if offer.whole:
                return float(trial.suggest_int(name, int(offer.low), int(offer.high), log=offer.log))
            return float(trial.suggest_float(name, offer.low, offer.high, log=offer.log))

        sketch = self.draw(answer)
        if sketch.error or sketch.identity in self.begun:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._asked[sketch.trace.digest] = trial
        return sketch

    def observe(self, news: News) -> None:
        states = self._optuna.trial.TrialState
        state = states.COMPLETE if news.ok else states.FAIL
        value = news.score if news.ok else None
        trial = self._asked.pop(news.trace.digest, None)
        if trial is not None:
            self._study.tell(trial, value, state=state)
            return
        answers, distributions = self._parameters(news.trace)
        create = self._optuna.trial.create_trial
        self._study.add_trial(create(state=state, value=value, params=answers, distributions=distributions))

    def _parameters(self, trace: Trace) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
        """A trace as Optuna keeps it: answers and what was offered, by name of the parameter."""
        kinds = self._optuna.distributions
        answers: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for choice in trace.choices:
            offer = offer_of(choice)
            if not offer.is_open:
                continue
            name = _parameter(offer)
            if offer.options:
                answers[name] = int(choice.answer)
                distributions[name] = kinds.CategoricalDistribution(list(range(offer.options)))
            elif offer.whole:
                answers[name] = int(choice.answer)
                distributions[name] = kinds.IntDistribution(int(offer.low), int(offer.high), log=offer.log)
            else:
                answers[name] = choice.answer
                distributions[name] = kinds.FloatDistribution(offer.low, offer.high, log=offer.log)
        return answers, distributions


def _parameter(offer: Offer) -> str:
    """The name for Optuna, to whom lists of other lengths and numbers of another kind are other parameters."""
    if offer.options:
        return f"{offer.name}/{offer.options}"
    return f"{offer.name}/{'whole' if offer.whole else 'number'}{'/log' if offer.log else ''}"
