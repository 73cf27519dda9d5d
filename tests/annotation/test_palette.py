import numpy as np

from napari_cliper.annotation.palette import voc_palette


def test_colours_are_pascal_vocs():
    palette = voc_palette()
    assert palette.shape == (256, 3)
    assert palette.dtype == np.uint8
    known = {
        0: (0, 0, 0),
        1: (128, 0, 0),
        2: (0, 128, 0),
        8: (64, 0, 0),
        15: (192, 128, 128),
        20: (0, 64, 128),
        255: (224, 224, 192),
    }
    assert {i: tuple(palette[i].tolist()) for i in known} == known


def test_no_two_ids_of_a_16_bit_picture_share_a_colour():
    assert len(np.unique(voc_palette(65536), axis=0)) == 65536
