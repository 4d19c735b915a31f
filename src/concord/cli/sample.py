"""``concord sample``: text that a language model writes.

Example:
    $ concord sample runs/shakespeare --prompt "ROMEO:" --length 300
"""

from typing import Annotated

import typer

from concord.cli import progress
from concord.cli.options import AllowCode, Json, MemberName, Run, print_json
from concord.consensus.names import ENSEMBLE


def add_to(app: typer.Typer) -> None:
    app.command(
        "sample",
        help="Text that follows a prompt, written by a run of the task language.\n\n"
        'Example: concord sample runs/shakespeare --prompt "ROMEO:" --length 300 --temperature 0.7',
    )(sample_command)


def sample_command(
    run: Run,
    prompt: Annotated[str, typer.Option(help="The text to continue.", show_default=False)],
    length: Annotated[int, typer.Option(min=1, help="Characters to write.")] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 the likeliest characters come oftener, above 1 more is dared.")
    ] = 0.8,
    top: Annotated[
        int | None, typer.Option(min=1, help="Draw among that many likeliest characters only.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    member: MemberName = ENSEMBLE,
    allow_code: AllowCode = None,
    json_: Json = False,
) -> None:
    from concord.api.evaluate import sample

    written = sample(
        run,
        prompt,
        length=length,
        temperature=temperature,
        top=top,
        seed=seed,
        member=member,
        allow_code=allow_code or [],
        observer=progress.Lines(),
    )
    if json_:
        print_json(written.to_dict())
    else:
        print(f"{written.prompt}{written.text}")
