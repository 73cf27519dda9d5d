"""Changes to a class list, each a pure function: the old list stays, the new one is checked anew.

A label map refers to classes by their ids, so an id goes on meaning what it meant: it stays with
its class whatever its name becomes, and is not given to another while pixels that a person painted
still hold it.
"""

import re
from collections.abc import Collection, Iterator
from typing import Any

from napari_cliper.annotation.class_list import (
    MAX_CLASSES,
    ClassEntry,
    ClassList,
    one_sentence,
)
from napari_cliper.errors import NapariCliperError


@one_sentence
def with_text(before: ClassList | None, text: str, painted: Collection[int] = ()) -> ClassList:
    """What a person typed becomes the class list; ids and colours live on.

    Parameters
    ----------
    before : ClassList or None
        The list so far.
    text : str
        All classes, in the form that `ClassList.parse` reads.
    painted : collection of int
        Ids that pixels painted by a person hold, in whichever label map.

    Returns
    -------
    ClassList
        Names, synonyms and order are the text's, background words and templates those of `before`.
        A name that was there, whatever its case, keeps id and colour. If one name went and one
        came, that is a new name for the same class. Any other new class gets the lowest free id
        and Pascal VOC's colour of it. A class that went although its id is painted is still there,
        as the last: its pixels would mean nothing without it.

    Raises
    ------
    NapariCliperError
        What `ClassList.parse` says of the text, or no id is free.

    Examples
    --------
    >>> before = ClassList.parse("cat; dog")
    >>> [(entry.id, entry.name) for entry in with_text(before, "lion; hen; Dog")]
    [(1, 'lion'), (3, 'hen'), (2, 'Dog')]
    >>> [(entry.id, entry.name) for entry in with_text(before, "lion; dog")]
    [(1, 'lion'), (2, 'dog')]
    """
    typed = ClassList.parse(text)
    gone = {entry.name.casefold(): entry for entry in before or ()}
    was = [gone.pop(entry.name.casefold(), None) for entry in typed]
    if len(gone) == 1 and was.count(None) == 1:
        was[was.index(None)] = gone.popitem()[1]
    kept = [entry for entry in gone.values() if entry.id in painted]
    free = _free_ids({*painted, *(entry.id for entry in (*was, *kept) if entry is not None)})
    entries = [
        ClassEntry(id=next(free), name=new.name, synonyms=new.synonyms)
        if old is None
        else ClassEntry(id=old.id, name=new.name, synonyms=new.synonyms, color=old.color)
        for new, old in zip(typed, was, strict=True)
    ]
    return _with_entries(before or typed, [*entries, *kept])


@one_sentence
def renamed(classes: ClassList, id_: int, name: str) -> ClassList:
    """Give a class another name; id, colour and synonyms stay.

    Raises
    ------
    NapariCliperError
        No class has the id, another one has the name, or it holds a comma, “;”, “=” or “#”.
    """
    return _edited(classes, id_, name=name)


@one_sentence
def with_synonyms(classes: ClassList, id_: int, words: str) -> ClassList:
    """Give a class these synonyms, and no others.

    Parameters
    ----------
    classes : ClassList
    id_ : int
    words : str
        Separated by commas; empty for no synonyms.

    Raises
    ------
    NapariCliperError
        No class has the id, or a synonym holds “;”, “=” or “#”.
    """
    return _edited(classes, id_, synonyms=tuple(words.split(",")))


@one_sentence
def recolored(classes: ClassList, id_: int, color: tuple[int, int, int]) -> ClassList:
    """Give a class another colour: red, green, blue, 0 to 255.

    Raises
    ------
    NapariCliperError
        No class has the id, or the colour is none.
    """
    return _edited(classes, id_, color=color)


@one_sentence
def added(classes: ClassList | None, name: str, painted: Collection[int] = ()) -> ClassList:
    """One class more, as the last.

    Parameters
    ----------
    classes : ClassList or None
        None if there are no classes yet.
    name : str
        Synonyms may follow: ``sofa = couch, settee``.
    painted : collection of int
        Ids that pixels painted by a person hold; the class gets the lowest that is free.

    Raises
    ------
    NapariCliperError
        What `ClassList.parse` says of the name, it holds several classes, it is there already, or
        no id is free.
    """
    typed = ClassList.parse(name)
    if len(typed) > 1:
        raise NapariCliperError(
            f"“{typed[0].name}” and “{typed[1].name}” are several classes: add one at a time."
        )
    entries = () if classes is None else classes.classes
    id_ = next(_free_ids({*painted, *(entry.id for entry in entries)}))
    new = ClassEntry(id=id_, name=typed[0].name, synonyms=typed[0].synonyms)
    return _with_entries(classes or typed, [*entries, new])


def removed(classes: ClassList, id_: int) -> ClassList | None:
    """Leave a class out; None if it was the only one.

    Raises
    ------
    NapariCliperError
        No class has the id.
    """
    index = _index(classes, id_)
    entries = [*classes.classes[:index], *classes.classes[index + 1 :]]
    return _with_entries(classes, entries) if entries else None


@one_sentence
def loaded(
    before: ClassList | None, classes: ClassList, painted: Collection[int] = ()
) -> ClassList:
    """A list from a file takes the place of another; classes that are painted stay.

    Parameters
    ----------
    before : ClassList or None
    classes : ClassList
        The list from the file; its ids are kept.
    painted : collection of int
        Ids that pixels painted by a person hold.

    Raises
    ------
    NapariCliperError
        The file gives a painted id to another class.
    """
    missing = []
    for entry in before or ():
        if entry.id in painted and entry.id not in classes.ids:
            missing.append(entry)
        elif entry.id in painted:
            other = classes[_index(classes, entry.id)].name
            if other.casefold() != entry.name.casefold():
                raise NapariCliperError(
                    f"The file gives the number {entry.id} to “{other}”, but “{entry.name}” is "
                    "painted with it: remove that class first, or change the number in the file."
                )
    return _with_entries(classes, [*classes.classes, *missing])


def followed(theirs: ClassList, before: ClassList | None, after: ClassList) -> ClassList:
    """What becomes of a label map's own list when the list that people work on changes.

    Parameters
    ----------
    theirs : ClassList
        What the map's labels mean.
    before, after : ClassList
        The list that people work on.

    Returns
    -------
    ClassList
        A class that was in `before` with the same id and name is what `after` makes of it; others
        mean what they meant. New classes whose ids and names are free are there too.
    """
    was = {entry.id: entry.name for entry in before or ()}
    now = {entry.id: entry for entry in after}
    kept = [entry for entry in theirs if was.get(entry.id) != entry.name]
    ids = {entry.id for entry in kept}
    names = {entry.name.casefold() for entry in kept}
    new = [entry for id_, entry in now.items() if id_ not in ids]
    new = [entry for entry in new if entry.name.casefold() not in names]
    entries = sorted((*kept, *new), key=lambda entry: _place(after, entry))
    return _with_entries(after, entries)


def with_strays(classes: ClassList, ids: Collection[int]) -> ClassList:
    """A list with an entry for every label that a map holds, named after it where it has no class.

    Parameters
    ----------
    classes : ClassList
    ids : collection of int
        The map's labels; 0 is the background.
    """
    names = {name.casefold() for name in classes.names}
    strays = []
    for id_ in sorted({*ids} - {0, *classes.ids}):
        name = next(name for name in _stray_names(id_) if name not in names)
        strays.append(ClassEntry(id=id_, name=name))
    return _with_entries(classes, [*classes.classes, *strays])


@one_sentence
def with_entry(classes: ClassList | None, entry: ClassEntry) -> ClassList:
    """A list with one more class, which keeps its number if that is free."""
    if classes is None:
        return ClassList(classes=(entry,))
    id_ = entry.id if entry.id not in classes.ids else next(_free_ids(classes.ids))
    return _with_entries(classes, [*classes.classes, entry.model_copy(update={"id": id_})])


def without_strays(classes: ClassList) -> ClassList:
    """The list without what `with_strays` added, unless nothing else is in it."""
    entries = [entry for entry in classes if entry.name not in _stray_names(entry.id)]
    return _with_entries(classes, entries) if entries else classes


def _stray_names(id_: int) -> tuple[str, str]:
    return f"label {id_}", f"label {id_} (no class)"


def _place(classes: ClassList, entry: ClassEntry) -> int:
    return classes.ids.index(entry.id) if entry in classes.classes else len(classes)


def with_background(classes: ClassList, words: str | None) -> ClassList:
    """Give the list these words for what is none of its classes.

    Parameters
    ----------
    classes : ClassList
    words : str or None
        One a line, or separated by commas or semicolons; repetitions are left out, whatever their
        case. Empty for no background words at all; None for the preset's own.
    """
    background = None
    if words is not None:
        first: dict[str, str] = {}
        for word in re.split(r"[\n,;]", words):
            if tidy := " ".join(word.split()):
                first.setdefault(tidy.casefold(), tidy)
        background = tuple(first.values())
    return ClassList(classes=classes.classes, background=background, templates=classes.templates)


@one_sentence
def with_templates(classes: ClassList, lines: str | None) -> ClassList:
    """Give the list these sentences to put its prompts in.

    Parameters
    ----------
    classes : ClassList
    lines : str or None
        One a line, each with ``{}`` where the prompt goes; None for the preset's own.

    Raises
    ------
    NapariCliperError
        There is none, or one does not hold ``{}`` once.
    """
    templates = None if lines is None else tuple(filter(None, map(str.strip, lines.splitlines())))
    return ClassList(classes=classes.classes, background=classes.background, templates=templates)


def _with_entries(classes: ClassList, entries: list[ClassEntry]) -> ClassList:
    return ClassList(
        classes=tuple(entries), background=classes.background, templates=classes.templates
    )


def _edited(classes: ClassList, id_: int, **changes: Any) -> ClassList:
    """The list with some fields of one class changed."""
    entries = [*classes.classes]
    index = _index(classes, id_)
    # Built anew: pydantic's `model_copy` would not check the changes.
    entries[index] = ClassEntry(**{**dict(entries[index]), **changes})
    return _with_entries(classes, entries)


def _index(classes: ClassList, id_: int) -> int:
    if id_ not in classes.ids:
        raise NapariCliperError(f"No class has the id {id_}: choose one that is in the list.")
    return classes.ids.index(id_)


def _free_ids(taken: Collection[int]) -> Iterator[int]:
    """From the lowest; asking for more than there are is the person's mistake."""
    yield from (id_ for id_ in range(1, MAX_CLASSES + 1) if id_ not in taken)
    raise NapariCliperError(
        f"All {MAX_CLASSES} ids are taken by classes or by painted pixels: remove some first."
    )
