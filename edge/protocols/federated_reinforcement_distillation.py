"""Federated reinforcement distillation: agents share what they do in proxy states, not what they saw or are.

Cha, Park, Kim, Kim, Bennis, "Federated Reinforcement Distillation with Proxy Experience Memory", 2019,
and "Proxy Experience Replay: Federated Distillation for Distributed Reinforcement Learning" (MixFRD),
2020; here on CartPole (the `rl` extra). All agents agree on a grid of proxy states.

    agent    plays episodes; with G the discounted return and V a value for each proxy state, steps on
             -(G - V) log pi(a|s), and towards the memory,  beta CE(memory, pi) on proxy states
             sends its policy's average over the visited states of each proxy state: (index, pi)
    server   averages each proxy state's policies over the agents that were there; everybody gets the memory

The critic is a table over the same proxy states. `mixup` adds random interpolations of two entries of the
memory to each step (MixFRD). `share` = "weights" is the baseline that averages the policy network instead
(federated reinforcement learning), "nothing" the agent on its own.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import (
    DEVICE,
    Array,
    Engine,
    Exchange,
    ExchangeResult,
    Format,
    MessageKind,
    Metrics,
    NodeId,
    Protocol,
    ProtocolContext,
)
from edge.kinds import PROXIES, WEIGHTS
from edge.protocols._averaging import agreeing, average
from edge.protocols._base import Stateful, Stateless, adopt, distributions, flatten, message, weights
from edge.protocols._local import generator, summary
from edge.ranges import LARGEST_RATE
from edge.specs import ProtocolSpec

KIND = PROXIES.name
ENVIRONMENT = "CartPole-v1"
ACTIONS = 2
EDGES: tuple[tuple[float, ...], ...] = ((-0.8, 0.8), (-0.5, 0.5), (-0.10, -0.02, 0.0, 0.02, 0.10), (-0.87, 0.87))
"""Where position, velocity, angle and angular velocity are cut into proxy states (Michie and Chambers 1968)."""
STATES = int(np.prod([len(edges) + 1 for edges in EDGES]))
TERM = "soft_cross_entropy"
DISTIL = "soft_cross_entropy(reference)"


@dataclass(frozen=True, kw_only=True)
class FrdSettings:
    """The algorithm's own knobs.

    episodes: a round, each at most `longest` steps; after each, a training step. learning_rate: it suits Adam.
    critic_rate: of the table of values. discount: of later rewards. beta: weight of the distillation. mixup:
    interpolated entries of the memory a step. share: proxies, weights or nothing.
    """

    episodes: int = 2
    longest: int = 200
    learning_rate: float = 0.01
    critic_rate: float = 0.1
    discount: float = 0.99
    beta: float = 0.1
    mixup: int = 0
    share: Literal["proxies", "weights", "nothing"] = "proxies"

    def __post_init__(self) -> None:
        if min(self.episodes, self.longest) < 1 or min(self.mixup, self.beta) < 0:
            raise ValueError("episodes and longest must be at least 1, mixup and beta not negative")
        if not 0 < self.learning_rate <= LARGEST_RATE:
            raise ValueError(f"learning_rate must be above 0 and at most {LARGEST_RATE:g}")
        if not (0 < self.critic_rate <= 1 and 0 < self.discount <= 1):
            raise ValueError("critic_rate and discount must be above 0 and at most 1")


def objective(_settings: FrdSettings) -> tuple[str, ...]:
    """Advantages as soft labels, -sum A log pi(a|s), and the memory's policies."""
    return (TERM, DISTIL)


def sends(settings: FrdSettings) -> tuple[MessageKind, ...]:
    """What agents send: policies, weights, or nothing."""
    return {"proxies": (PROXIES,), "weights": (WEIGHTS,), "nothing": ()}[settings.share]


def table(context: ProtocolContext) -> Format:
    """Visited proxy states: their number, and the policy there."""
    return PROXIES.format(context.reference_digest, (STATES, 1 + ACTIONS), fewer=True)


def proxy(states: Array) -> Array:
    """The proxy state (n,) of states (n, 4)."""
    places = [np.digitize(states[:, i], edges) for i, edges in enumerate(EDGES)]
    number: Array = np.ravel_multi_index(places, [len(edges) + 1 for edges in EDGES])
    return number


def centres() -> Array:
    """(STATES, 4) float32: a state in the middle of each cell; the outer cells are as wide as their neighbours."""
    middles = []
    for edges in EDGES:
        wide = [2 * edges[0] - edges[1], *edges, 2 * edges[-1] - edges[-2]]
        middles.append(np.convolve(wide, [0.5, 0.5], "valid"))
    grid = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    return grid.reshape(-1, len(EDGES)).astype(np.float32)


@dataclass
class Agent(Stateful):
    """A device. values: (STATES,) the critic. memory: (n, 1 + A) what the server last sent."""

    STATE: ClassVar[tuple[str, ...]] = ("values", "memory")
    context: ProtocolContext
    settings: FrdSettings
    environment: Any
    values: Array = field(default_factory=lambda: np.zeros(STATES))
    memory: Array = field(default_factory=lambda: np.zeros((0, 1 + ACTIONS), np.float32))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The memory, or the mean of all policies."""
        return {self.context.neighbours[0]: (table(self.context), weights(self.context))}

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Play and learn; send what was done in each proxy state; take the memory."""
        (server,) = self.context.neighbours
        sums, counts = np.zeros((STATES, ACTIONS)), np.zeros(STATES)
        lengths, steps = [], []
        for episode in range(self.settings.episodes):
            random = generator(self.context, number, 10 + episode)
            states, actions, policies, rewards = self._play(engine, random)
            np.add.at(sums, proxy(states), policies)
            np.add.at(counts, proxy(states), 1)
            steps.append(self._learn(engine, states, actions, rewards, random))
            lengths.append(len(states))
        metrics: Metrics = summary(steps) | {"return": float(np.mean(lengths))}
        if self.settings.share == "nothing":
            return metrics
        if self.settings.share == "weights":
            return metrics | (yield from self._average(number, engine, server))
        been = np.flatnonzero(counts)
        visited = message(table(self.context), number, np.column_stack([been, sums[been] / counts[been, None]]))
        received = (yield Exchange({server: (visited,)}, {server: (KIND,)})).of(KIND)
        valid = [rows for rows in received.values() if plausible(rows)]
        if valid:
            self.memory = valid[0]
        return metrics | {
            "rejected_invalid": float(len(received) - len(valid)),
            "memory": float(len(self.memory)),
            "visited": float(len(been)),
        }

    def _play(self, engine: Engine, random: np.random.Generator) -> tuple[Array, Array, Array, Array]:
        """One episode: states (T, 4), actions (T,), the policy's probabilities (T, A), rewards (T,)."""
        state, _ = self.environment.reset(seed=int(random.integers(2**31)))
        states, actions, policies, rewards = [], [], [], []
        for _ in range(self.settings.longest):
            seen = np.asarray(state, np.float32)[None]
            policy = engine.predict(seen)[0].astype(np.float64)
            action = int(random.random() < policy[1] / policy.sum())
            state, reward, ended, cut, _ = self.environment.step(action)
            states.append(seen[0])
            actions.append(action)
            policies.append(policy)
            rewards.append(float(reward))
            if ended or cut:
                break
        return np.array(states), np.array(actions), np.array(policies), np.array(rewards)

    def _learn(
        self, engine: Engine, states: Array, actions: Array, rewards: Array, random: np.random.Generator
    ) -> Metrics:
        """One step of actor and critic."""
        settings = self.settings
        returns, total = np.zeros(len(rewards)), 0.0
        for t in reversed(range(len(rewards))):
            total = rewards[t] + settings.discount * total
            returns[t] = total
        at = proxy(states)
        advantages = returns - self.values[at]
        for place, value in zip(at, returns, strict=True):
            self.values[place] += settings.critic_rate * (value - self.values[place])
        advantages /= advantages.std() + 1.0  # a step of the same size for short and long episodes
        target = (np.eye(ACTIONS)[actions] * advantages[:, None]).astype(np.float32)
        proxies, wanted = self._remembered(random)
        batch = {"x": states, "target": target, "reference_x": proxies, "reference_target": wanted}
        beta = settings.beta * bool(len(self.memory))
        return engine.step(batch, learning_rate=settings.learning_rate, **{f"weight/{DISTIL}": beta})

    def _remembered(self, random: np.random.Generator) -> tuple[Array, Array]:
        """Proxy states of the memory and the policies there, and interpolations of pairs."""
        if not len(self.memory):
            return np.zeros((1, len(EDGES)), np.float32), np.full((1, ACTIONS), 1 / ACTIONS, np.float32)
        states, policies = centres()[self.memory[:, 0].astype(np.int64)], self.memory[:, 1:]
        if self.settings.mixup:
            i, j = random.integers(len(states), size=(2, self.settings.mixup))
            share = random.random((self.settings.mixup, 1)).astype(np.float32)
            states = np.concatenate([states, share * states[i] + (1 - share) * states[j]])
            policies = np.concatenate([policies, share * policies[i] + (1 - share) * policies[j]])
        return states, policies

    def _average(self, number: int, engine: Engine, server: NodeId) -> Generator[Exchange, ExchangeResult, Metrics]:
        parameters = engine.parameters()
        model = message(weights(self.context), number, flatten(parameters))
        result = yield Exchange({server: (model,)}, {server: (model.kind,)})
        return {"rejected_invalid": adopt(engine, parameters, result.of(model.kind))}


@dataclass
class FrdServer(Stateless):
    """The centre: the memory of all, or the mean of all policies."""

    context: ProtocolContext
    settings: FrdSettings

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """What agents did where, or their weights."""
        return dict.fromkeys(self.context.neighbours, (table(self.context), weights(self.context)))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect, average, send to all."""
        devices, share = self.context.neighbours, self.settings.share
        if share == "nothing":
            return {}
        kind = KIND if share == "proxies" else WEIGHTS.name
        received = (yield Exchange({}, dict.fromkeys(devices, (kind,)))).of(kind)
        if share == "weights":
            valid = agreeing(received)
            mean = message(weights(self.context), number, average(valid)) if valid else None
        else:
            valid = {j: rows for j, rows in received.items() if plausible(rows)}
            mean = message(table(self.context), number, memory_of(valid)) if valid else None
        if mean:
            yield Exchange(dict.fromkeys(devices, (mean,)), {})
        return {"rejected_invalid": float(len(received) - len(valid))}


def memory_of(tables: Mapping[NodeId, Array]) -> Array:
    """The mean policy of each proxy state over the agents that were there: (n, 1 + A), by number."""
    sums, counts = np.zeros((STATES, ACTIONS)), np.zeros(STATES)
    for name in sorted(tables):
        at = tables[name][:, 0].astype(np.int64)
        sums[at] += tables[name][:, 1:]
        counts[at] += 1
    been = np.flatnonzero(counts)
    return np.column_stack([been, sums[been] / counts[been, None]]).astype(np.float32)


def plausible(rows: Array) -> bool:
    """Whether (n, 1 + A) names proxy states, each once, with a distribution over the actions."""
    numbers = rows[:, 0]
    known = np.isin(numbers, np.arange(STATES)).all() and len(np.unique(numbers)) == len(numbers)
    return bool(known and distributions(rows[:, 1:]))


def create(context: ProtocolContext, settings: FrdSettings) -> Protocol:
    """An agent or the server. Raises ConfigError without gymnasium, or for data that are not CartPole's."""
    if context.role != DEVICE:
        return FrdServer(context, settings)
    if context.reference_x.shape[1:] != (len(EDGES),) or context.classes != ACTIONS:
        raise ConfigError(f"federated-reinforcement-distillation plays {ENVIRONMENT}; say data = 'cartpole'")
    try:
        import gymnasium
    except ImportError:
        raise ConfigError("reinforcement learning needs gymnasium: pip install 'murmur-edge[rl]'") from None
    return Agent(context, settings, gymnasium.make(ENVIRONMENT).unwrapped)


SPEC = ProtocolSpec(
    settings=FrdSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(PROXIES, WEIGHTS),
    centre="server",
    data="cartpole",
)
