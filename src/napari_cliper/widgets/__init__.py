"""The docks in napari's window: their forms, their workers, the layers they add."""

from napari_cliper.widgets.batch_widget import BatchWidget
from napari_cliper.widgets.channels_widget import ChannelsWidget
from napari_cliper.widgets.correct_widget import CorrectWidget
from napari_cliper.widgets.inspect_widget import InspectWidget
from napari_cliper.widgets.large_widget import LargeWidget
from napari_cliper.widgets.review_widget import ReviewWidget
from napari_cliper.widgets.segment_widget import SegmentWidget

__all__ = [
    "BatchWidget",
    "ChannelsWidget",
    "CorrectWidget",
    "InspectWidget",
    "LargeWidget",
    "ReviewWidget",
    "SegmentWidget",
]
