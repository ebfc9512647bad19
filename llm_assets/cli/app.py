"""The commands of `llm-assets`. What they do lies in the modules beside this one."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from typer.core import TyperGroup

from llm_assets.errors import LlmAssetsError

if TYPE_CHECKING:
    from llm_assets.project import Project
    from llm_assets.stages.mix.link import MixedLink
    from llm_assets.store.layout import Store

console = Console(width=None if sys.stdout.isatty() else 160)
errors = Console(stderr=True)


class _Commands(TyperGroup):
    """Commands that say what a person can put right without a stack trace, and end with status 2 then."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader, as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except Exception as error:
            # Dagster wraps what is wrong with a declaration in an error that shows the whole tree of folders
            cause = error.__cause__ if type(error).__name__ == "ComponentTreeException" else error
            if cause is error and not isinstance(error, LlmAssetsError | OSError):
                raise
            raise _refused(cause) from error


app = typer.Typer(
    cls=_Commands,
    help="Raw text in, the exact rows a language model trains on out, every one accounted for.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.command("demo-data")
def demo_data(
    megabytes: Annotated[float, typer.Option(help="About how much text to write, in 10⁶ bytes.")] = 50.0,
) -> None:
    """Write demonstration data into the landing folder, taken from this Python installation."""
    from llm_assets.cli.home import find_project, open_store
    from llm_assets.demo import write_demo_data

    landing = open_store(find_project()).landing
    with console.status("taking documentation and code from this Python installation"):
        snapshots = write_demo_data(landing, megabytes=megabytes)
    for snapshot in snapshots:
        size = f"{snapshot.documents:,} documents, {snapshot.bytes / 1e6:.1f} MB in {snapshot.files} files"
        console.print(f"[bold]{snapshot.source}[/] {snapshot.snapshot}: {size}")
    console.print(f"landed in {landing.uri}", soft_wrap=True)


@app.command()
def run(
    mixture: Annotated[str | None, typer.Argument(help="A mixture; default: all, and all sources.")] = None,
) -> None:
    """Bring a mixture up to date: everything it needs that is missing, stale or was refused."""
    import dagster as dg
    from dagster.components.core.component_tree import ComponentTree

    from llm_assets.cli.home import ensure_dagster_home, find_project, open_store
    from llm_assets.cli.run import Runner
    from llm_assets.cli.status import project_status, status_table
    from llm_assets.components.declared import project_of
    from llm_assets.definitions import definitions_of

    logging.getLogger("dagster").setLevel(logging.ERROR)
    folder = find_project()
    ensure_dagster_home(folder)
    with console.status("loading definitions"):
        tree = ComponentTree.for_project(folder)
        project = project_of(tree)
    links = list(project.links.values()) if mixture is None else project.needed_for(_mixed(project, mixture).owner)
    store = open_store(folder)
    with dg.DagsterInstance.get() as instance:
        runner = Runner(partial(definitions_of, tree, folder), instance, store, _step)
        runner.bring_up_to_date(links)
    console.print(status_table(list(project_status(project, store))))
    for note in runner.notes:
        console.print(f"[yellow]note[/] {escape(note)}", soft_wrap=True)
    for name, why in runner.failures.items():
        errors.print(f"[bold red]failed[/] {escape(f'{name}: {why}')}", soft_wrap=True)
    if runner.failures:
        raise typer.Exit(1)
    console.print("everything is up to date" if runner.made == 0 else f"{runner.made} partitions made")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON array.")] = False) -> None:
    """Show, for every source, snapshot and stage: state, ledger, digest and (as JSON) URI."""
    from llm_assets.cli.status import project_status, refusals, status_table

    project, store = _opened()
    statuses = list(project_status(project, store))
    if as_json:
        typer.echo(json.dumps([status.as_dict() for status in statuses], indent=1))
    else:
        console.print(status_table(statuses))
        for refusal in refusals(statuses):
            console.print(f"[red]refused[/] {escape(refusal)}", soft_wrap=True)


@app.command()
def peek(
    target: Annotated[str, typer.Argument(help="docs/cleaned, docs/cleaned@2026-01, demo/mixed, demo/mixed@v1, …")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many documents or rows.")] = 3,
    dropped: Annotated[bool, typer.Option(help="Those that went no further, and why.")] = False,
) -> None:
    """Show documents of a stage, or decoded rows with the document boundaries visible."""
    from llm_assets.cli.peek import PeekTarget
    from llm_assets.cli.peek import peek as peek_at

    project, store = _opened()
    for shown in peek_at(project, store, PeekTarget.parse(target), count, lost=dropped):
        console.print(shown)


@app.command()
def whatif(
    source: Annotated[str, typer.Argument(help="The source whose cleaned documents are judged anew.")],
    settings: Annotated[
        list[str], typer.Option("--set", help="gopher_quality.min_words=30, c4=null, language.allow=[en,de], …")
    ],
    snapshot: Annotated[str | None, typer.Option(help="One snapshot; default: all that are committed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show what other thresholds would keep and drop, from what is stored, without cleaning again."""
    from llm_assets.cli.cleaned_source import cleaned_snapshots
    from llm_assets.cli.whatif import as_json as json_of
    from llm_assets.cli.whatif import report
    from llm_assets.stages.clean.whatif.overrides import overridden
    from llm_assets.stages.clean.whatif.whatif import what_if

    project, store = _opened()
    link, snapshots = cleaned_snapshots(project, store, source, snapshot)
    found = what_if(snapshots, link.parameters, overridden(link.parameters, settings))
    if as_json:
        typer.echo(json.dumps(json_of(link.asset, found), indent=1))
    else:
        console.print(report(link.asset, found))


@app.command()
def sample(
    source: Annotated[str, typer.Argument(help="The source whose cleaned documents are drawn from.")],
    output: Annotated[Path, typer.Option(help="The Parquet file to write.")],
    snapshot: Annotated[str | None, typer.Option(help="One snapshot; default: all that are committed.")] = None,
    fraction: Annotated[float | None, typer.Option(min=0, max=1, help="How much of each stratum.")] = None,
    documents: Annotated[int | None, typer.Option(min=0, help="How many in all, in proportion.")] = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Strata: a statistic (by quantiles), language, split, file, … Repeatable.")
    ] = None,
    strata: Annotated[int, typer.Option(min=1, help="How many quantile strata of a statistic.")] = 10,
    seed: Annotated[int, typer.Option(help="Another seed draws other documents.")] = 0,
    rejected: Annotated[bool, typer.Option("--rejected", help="Of the rejected documents.")] = False,
) -> None:
    """Write a stratified sample of a source's cleaned documents, the same ones each time."""
    from llm_assets.cli.cleaned_source import cleaned_snapshots
    from llm_assets.cli.sample import strata_table
    from llm_assets.contract.stage import Disposition
    from llm_assets.stages.clean.sampling import Sampling, draw

    project, store = _opened()
    disposition = Disposition.REJECTED if rejected else Disposition.KEPT
    sampling = Sampling(fraction, documents, tuple(dict.fromkeys(by or ())), strata, seed, disposition)
    link, snapshots = cleaned_snapshots(project, store, source, snapshot)
    drawn = draw(snapshots, link.parameters, sampling, output)
    console.print(strata_table(sampling.by, drawn))
    console.print(f"written to {output}", soft_wrap=True, highlight=False, markup=False)


@app.command("plan")
def plan_mixture(
    mixture: Annotated[str, typer.Argument(help="A mixture.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Say what a version of a mixture made now would be: rows, tokens, repetitions, disk, what limits it."""
    from llm_assets.cli.plan import plan, tables

    project, store = _opened()
    mixed = _mixed(project, mixture)
    planned = plan(mixed, store)
    if as_json:
        typer.echo(json.dumps(planned.as_dict(), indent=1))
        return
    for shown in tables(planned):
        console.print(shown)


def _mixed(project: Project, mixture: str) -> MixedLink:
    """The link of a mixture, or an error that names those there are."""
    from llm_assets.stages.mix.link import MixedLink

    mixtures = project.of_kind(MixedLink)
    if mixture not in mixtures:
        raise _refused(f"no mixture is called {mixture!r}; there are: {', '.join(mixtures) or 'none'}")
    return mixtures[mixture]


def _opened() -> tuple[Project, Store]:
    """The project around the working directory, and its store."""
    from llm_assets.cli.home import find_project, open_store
    from llm_assets.components.declared import load_project

    folder = find_project()
    return load_project(folder), open_store(folder)


def _refused(why: object) -> typer.Exit:
    """Says what a person can put right, and ends with status 2."""
    errors.print(escape(str(why)), soft_wrap=True)
    return typer.Exit(2)


@contextmanager
def _step(name: str) -> Generator[object]:
    """A line with a spinner and the time, which stays when the step is over."""
    columns = SpinnerColumn(finished_text="•"), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(name, total=1)
        yield progress
        progress.update(task, completed=1)
