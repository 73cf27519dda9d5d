"""Write scikit-image's cat and motorcycle as picture files: `write_samples.py FOLDER`.

Both lie in scikit-image's wheel, so nothing is downloaded.
"""

import sys
from pathlib import Path

import imageio.v3 as iio
from skimage import data


def main(folder: Path) -> None:
    """Write `cat.png` (451x300) and `motorcycle.png` (741x500) into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    iio.imwrite(folder / "cat.png", data.cat())
    iio.imwrite(folder / "motorcycle.png", data.stereo_motorcycle()[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
