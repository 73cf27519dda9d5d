"""A mask for each picture of a folder, and a queue to review: `review_a_folder.py [FOLDER]`.

Three photographs are written into FOLDER/photographs (example-output/photographs) and segmented one
by one. Into FOLDER/proposals go a label map of each, and `review.json`, which says how far each is
and how unsure. A person would open that folder in the dock *Review pictures*; here the queue is
printed, the most unsure first, and the surest proposal is accepted. Run again, the script finds
nothing to do: what is made is made, and what is accepted stays.
"""

import sys
from pathlib import Path

import imageio.v3 as iio
from skimage import data

import napari_cliper as nc
from napari_cliper.annotation.review import State
from napari_cliper.batch.order import Order
from napari_cliper.batch.run import run
from napari_cliper.batch.work import Recipe
from napari_cliper.cliper import drain
from napari_cliper.files.review import open_review, save_review


def main(folder: Path) -> None:
    """Write pictures, propose masks, accept one."""
    photographs, proposals = folder / "photographs", folder / "proposals"
    photographs.mkdir(parents=True, exist_ok=True)
    for name in ("astronaut", "cat", "rocket"):
        if not (photographs / f"{name}.png").exists():  # a file that changed is segmented anew
            iio.imwrite(photographs / f"{name}.png", getattr(data, name)())

    recipe = Recipe(nc.ClassList.parse("person = woman, astronaut; cat; rocket; sky"), "small")
    plan = drain(Order((str(photographs),), proposals, recipe).plan())
    print("\n".join(drain(run(plan, recipe)).told(plan)))

    place, review = open_review(photographs, proposals)
    queue = review.ordered(by_uncertainty=True)
    review = review.with_state(queue[-1].picture, State.ACCEPTED)
    save_review(place, review)
    for entry in review.ordered(by_uncertainty=True):
        print(f"{entry.picture}: {entry.state}, uncertainty {entry.uncertainty:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "example-output"))
