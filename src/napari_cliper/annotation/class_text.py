"""The text a person typed, kept in step with the class list."""

from napari_cliper.annotation.class_list import ClassEntry, ClassList


def retyped(text: str, before: ClassList | None, after: ClassList | None) -> str:
    """The same text, changed as little as the new class list asks for.

    Comments, empty lines and what shares a line stay where they were.

    Parameters
    ----------
    text : str
        In the form that `ClassList.parse` reads, with names of `before` or of `after`.
    before, after : ClassList or None
        None for no classes.

    Returns
    -------
    str
        Reads as the classes of `after`.

    Examples
    --------
    >>> before = ClassList.parse("cat; dog  # pets")
    >>> after = ClassList(classes=(before[0],))
    >>> retyped("cat; dog  # pets", before, after)
    'cat  # pets'
    """
    ids = {entry.name.casefold(): entry.id for entry in (*(after or ()), *(before or ()))}
    left = {entry.id: entry for entry in after or ()}
    lines = []
    for line in text.splitlines():
        code, mark, comment = line.partition("#")
        names = [" ".join(part.partition("=")[0].split()) for part in code.split(";")]
        entries = [left.pop(ids.get(name.casefold(), -1), None) for name in names if name]
        kept = "; ".join(_typed(entry) for entry in entries if entry is not None)
        if mark:
            kept = f"{kept}  #{comment}" if kept else f"#{comment}"
        if kept or not code.strip():
            lines.append(kept)
    lines += map(_typed, left.values())
    changed = "\n".join(lines)
    # What is out of order, or was never read, is written plainly.
    if after is not None and ClassList.parse(changed).prompts != after.prompts:
        return after.to_text()
    return changed


def _typed(entry: ClassEntry) -> str:
    return f"{entry.name} = {', '.join(entry.synonyms)}" if entry.synonyms else entry.name
