"""`napari-cliper models`: what weights there are, where they are; fetching and deleting them."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from napari_cliper.cli.reporter import Reporter, console
from napari_cliper.errors import NapariCliperError

if TYPE_CHECKING:
    from napari_cliper.models.inventory import Item, State
    from napari_cliper.models.schema import Repository

DECLINED, INTERRUPTED = 1, 130

models_app = typer.Typer(
    no_args_is_help=True, help="List, download, find and remove the models' weights."
)
Names = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME…",
        help="Presets, sources of compensation or vision models (“models list”), or preset files.",
    ),
]
Name = Annotated[str | None, typer.Argument(help="As for download; without one, the caches.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@models_app.command("list")
def list_models() -> None:
    """Show what weights there are, their sizes and licences, and where they are."""
    from napari_cliper.models import inventory, weights

    folder = weights.user_folder()
    states = [inventory.state(item, folder) for item in inventory.catalogue().values()]
    _print(_table(states))
    problems = (part.problem for state in states for part in state.parts if part.problem)
    for problem in dict.fromkeys(problems):
        _print(problem)
    for line in _places():
        _print(line)


def _table(states: Iterable["State"]) -> Table:
    from napari_cliper.models.sources import amount

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("name", "what", "size", "licence", "on disk", "state"):
        table.add_column(
            column,
            justify="right" if column in ("size", "on disk") else "left",
            no_wrap=column == "name",
            overflow="fold",
        )
    for state in states:
        item = state.item
        size = amount(item.size) if item.size else "?"
        on_disk = amount(state.size) if state.size else ""
        table.add_row(item.name, item.what, size, item.licence or "?", on_disk, state.where)
    return table


def _places() -> list[str]:
    """Where weights are kept and looked for, and what moves that."""
    from huggingface_hub import constants

    from napari_cliper.models import hub, weights
    from napari_cliper.models.kept_files import KeptFiles, disk_limit, encodings_folder
    from napari_cliper.models.sources import amount

    kept, limit = encodings_folder(), disk_limit()
    allowed = f"up to {amount(round(limit))}" if limit else "nothing more"
    forbidden = "yes" if constants.HF_HUB_OFFLINE else "no"
    return [
        "",
        f"Downloads: {hub.cache_folder()} (HF_HUB_CACHE or HF_HOME moves it)",
        f"Converted weights: {weights.cache_folder()} (NAPARI_CLIPER_CACHE moves it)",
        f"Encoded pictures and words: {kept} (holds {amount(KeptFiles(kept).size())}, delete it to "
        f"empty it; {allowed} is kept, NAPARI_CLIPER_KEEP says how many GB)",
        f"Your folder: {weights.user_folder() or 'none'} (NAPARI_CLIPER_WEIGHTS names it)",
        f"Downloads forbidden: {forbidden} (by HF_HUB_OFFLINE)",
    ]


@models_app.command()
def download(names: Names, yes: Yes = False) -> None:
    """Fetch weights, after showing sizes and licences and asking."""
    from napari_cliper.models import hub, inventory, weights

    folder = weights.user_folder()
    items = [inventory.find(name) for name in names]
    needed = {each.repo: each for item in items for each in weights.missing(item, folder)}
    repositories = list(needed.values())
    if not repositories:
        _print(f"Nothing to fetch: the weights of {', '.join(names)} are on this machine.")
        return
    hub.check_online(repositories)
    _announce(repositories)
    hub.check_space("Fetching this", inventory.still_to_fetch(repositories))
    if not _agreed("Fetch this?", yes):
        _print("Nothing was fetched.")
        raise typer.Exit(DECLINED)
    try:
        with Reporter() as reporter:
            reporter.show("Loading the libraries")
            for repository in repositories:
                reporter.run(hub.download(repository, repository.files))
                reporter.say(f"{repository.repo} is complete.")
    except KeyboardInterrupt:
        typer.echo(
            "napari-cliper: Stopped: what has been fetched is kept, and the next try goes on from "
            "there.",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None


def _announce(repositories: list["Repository"]) -> None:
    from napari_cliper.models import hub, inventory
    from napari_cliper.models.sources import amount

    _print(inventory.describe(repositories))
    size = inventory.still_to_fetch(repositories)
    _print(
        f"To fetch: {amount(size)} into {hub.cache_folder()}, where {amount(hub.free_space())} "
        "are free."
    )


def _agreed(question: str, yes: bool) -> bool:
    """Whether the person wants this.

    Raises
    ------
    NapariCliperError
        If nobody can be asked.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        raise NapariCliperError("There is nobody to ask here: add --yes if you agree.")
    return typer.confirm(question)


@models_app.command()
def path(name: Name = None) -> None:
    """Print the folders of a model's weights, one a line; without a name, the two caches."""
    from napari_cliper.models import hub, inventory, weights

    if name is None:
        typer.echo(hub.cache_folder())
        typer.echo(weights.cache_folder())
        return
    folder = weights.user_folder()
    state = inventory.state(inventory.find(name), folder)
    for part in state.parts:
        if part.problem:
            raise NapariCliperError(part.problem)
    if not state.is_complete:
        absent = ", ".join(each.repo for each in weights.missing(state.item, folder))
        raise NapariCliperError(
            f"The weights of {name} are not all on this machine ({absent}): napari-cliper models "
            f"download {name}."
        )
    for place in state.folders:
        typer.echo(place)


@models_app.command()
def remove(names: Names, yes: Yes = False) -> None:
    """Delete weights from the caches; your own folders and installed wheels are left alone."""
    from napari_cliper.models import inventory
    from napari_cliper.models.sources import amount

    items = [inventory.find(name) for name in names]
    found = [item for item in items if inventory.removable(item)]
    if not found:
        _print(f"Nothing of {', '.join(names)} is in the caches.")
        return
    for item in found:
        _warn(item)
    if not _agreed("Delete this?", yes):
        _print("Nothing was deleted.")
        raise typer.Exit(DECLINED)
    _print(f"Freed {amount(sum(map(inventory.remove, found)))}.")


def _warn(item: "Item") -> None:
    """Say what will be deleted, and who else will miss it."""
    from napari_cliper.models import inventory
    from napari_cliper.models.sources import amount

    for folder, size in inventory.removable(item).items():
        _print(f"{item.name}: {folder} ({amount(size)})")
    for repo, others in inventory.sharing(item).items():
        _print(f"{repo} is also used by {', '.join(others)}.")


def _print(what: str | Table) -> None:
    """A line or a table on standard output, of which nothing is cut off."""
    console().print(what, soft_wrap=isinstance(what, str))
