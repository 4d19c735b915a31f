"""``concord bench sequence``: an LSTM with peepholes beside a plain loop and torch.nn.LSTM.

Example:
    $ concord bench sequence --json
"""

from typing import Annotated

import typer

from concord.cli.options import Json, print_json


def bench_sequence_command(
    rounds: Annotated[
        int, typer.Option(min=1, help="Number of rounds; each engine is measured once per round.")
    ] = 15,
    json_: Json = False,
) -> None:
    from concord.bench.sequence import CASES, bench_sequence

    measured = bench_sequence(rounds)
    if json_:
        print_json(measured)
        return
    print(f"LSTM with peepholes, forward and backward, one thread; torch {measured['torch']}")
    for case, (batch, steps, units) in CASES.items():
        times = {row["engine"]: row["milliseconds"] for row in measured["rows"] if row["case"] == case}
        print(f"{batch} sequences of {steps} steps, {units} units")
        for name, milliseconds in times.items():
            print(f"  {name:8}{milliseconds:8.1f} ms  {milliseconds / times['torch']:6.2f} x torch")
