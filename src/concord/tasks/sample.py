"""A text that continues another one: symbols drawn one by one from what a member predicts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from concord.errors import ShapeError, UsageError


@runtime_checkable
class Streaming(Protocol):
    """A network that can read a sequence in pieces: the state behind one piece is where the next one begins.

    Shape: x (B, T) -> logits (B, T, K), and a state of ``batch`` sequences, whatever the network makes of it
    """

    def initial(self, batch: int) -> Any: ...
    def stream(self, x: Tensor, state: Any) -> tuple[Tensor, Any]: ...


@torch.no_grad()
def sample(
    member: nn.Module,
    prompt: Tensor,
    steps: int,
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    top: int | None = None,
    context: int | None = None,
) -> Tensor:
    """The ``steps`` symbols that follow the prompt, each drawn from softmax(logits / temperature).

    ``member`` gives logits (B, T, K) for symbols (B, T) and is asked in evaluation mode. One that is
    ``Streaming`` reads every symbol once; any other reads the last ``context`` symbols again at every step,
    or all of them. ``top`` leaves only that many of the likeliest symbols. Equal members, prompts and states
    of the generator, which is one of the CPU, give equal symbols::

        generator = torch.Generator().manual_seed(0)
        symbols = sample(network, encoded("ROMEO:", alphabet), 500, temperature=0.8, generator=generator)
        text = "".join(alphabet[k] for k in symbols.tolist())

    Shape: prompt (T,) int64 -> (steps,) int64, without the prompt

    Raises UsageError for an empty prompt, a temperature that is not above 0, numbers below 1 and logits that
    are not finite; ShapeError for symbols that the member does not know, and for another output.
    """
    _require(prompt, steps, temperature, top, context)
    home = next((p.device for p in member.parameters()), prompt.device)
    found = prompt.to(home, copy=True)
    with _evaluating(member):
        ask = _in_pieces(member) if isinstance(member, Streaming) else member
        seen = len(found) if isinstance(member, Streaming) else context or len(found) + steps
        for _ in range(steps):
            logits = _last(ask, found[None, -seen:])
            found = torch.cat([found, _drawn(logits, temperature, top, generator).to(home)])
            seen = 1 if isinstance(member, Streaming) else seen
    return found[len(prompt) :].to(prompt.device)


def _in_pieces(member: Streaming) -> Callable[[Tensor], Tensor]:
    """Logits for a piece that follows those that were given before."""
    state = member.initial(1)

    def ask(piece: Tensor) -> Tensor:
        nonlocal state
        logits, state = member.stream(piece, state)
        return logits

    return ask


def _last(ask: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The logits behind the last symbol. Shape: (1, T) -> (K,)"""
    try:
        logits = ask(x)
    except IndexError as error:  # of an embedding
        raise ShapeError(f"symbols {int(x.min())} to {int(x.max())}: the member fails ({error})") from error
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != x.shape:
        given = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise ShapeError(f"expected logits (1, {x.shape[1]}, K) for {x.shape[1]} symbols, got {given}")
    if int(x.max()) >= logits.shape[2]:
        raise ShapeError(f"expected symbols from 0 to {logits.shape[2] - 1}, got {int(x.max())}")
    if not logits[0, -1].isfinite().all():
        raise UsageError("the member gives logits that are not finite numbers")
    return logits[0, -1]


def _drawn(logits: Tensor, temperature: float, top: int | None, generator: torch.Generator) -> Tensor:
    """Shape: (K,) -> (1,)"""
    scaled = logits.cpu().double()
    if top is not None and top < len(scaled):
        best = scaled.topk(top).indices
        scaled = torch.full_like(scaled, -torch.inf).index_copy(0, best, scaled[best])
    odds = ((scaled - scaled.max()) / temperature).exp()  # the likeliest is 1, however small the temperature
    return torch.multinomial(odds, 1, generator=generator)


def _require(prompt: Tensor, steps: int, temperature: float, top: int | None, context: int | None) -> None:
    if prompt.ndim != 1 or prompt.dtype != torch.int64:
        given = f"{prompt.dtype} {tuple(prompt.shape)}"
        raise ShapeError(f"expected a prompt (T,) of whole numbers (int64), got {given}")
    if not len(prompt):
        raise UsageError("the prompt is empty: give at least one symbol to continue")
    if int(prompt.min()) < 0:
        raise ShapeError(f"expected symbols from 0, got {int(prompt.min())}")
    if not 0 < temperature < float("inf"):
        raise UsageError(f"the temperature is a number above 0, got {temperature}")
    for name, number in {"steps": steps, "top": top, "context": context}.items():
        if number is not None and number < 1:
            raise UsageError(f"{name} is at least 1, got {number}")


@contextmanager
def _evaluating(member: nn.Module) -> Iterator[None]:
    """In evaluation mode; afterwards every module is in the mode that it had."""
    modes = [(module, module.training) for module in member.modules()]
    member.eval()
    try:
        yield
    finally:
        member.train(modes[0][1])
        for module, mode in modes:
            module.training = mode
