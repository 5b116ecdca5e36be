import numpy as np

from experiments.data.datasets import load
from experiments.data.study import STUDY
from experiments.figures.data_windows import PATH, typical, windows
from experiments.figures.style import WIDEST, styled


def test_every_dataset_has_a_panel_with_its_target_and_bounds():
    with styled():
        figure = windows(["wind_farm", "dew_point_jfk"])
    one, other = figure.axes
    assert one.get_title(loc="left").startswith("wind_farm\nR807")
    assert other.get_title(loc="left") == "dew_point_jfk\n°C"
    assert [len(axes.lines) for axes in figure.axes] == [3, 2]  # bounds, then the target
    dataset = load("dew_point_jfk")
    part = dataset.part("test")
    window = typical(part["targets"][..., 0])
    upper, target = (line.get_ydata() for line in other.lines)
    np.testing.assert_allclose(upper, part["upper"][window, :, 0] * dataset.scale)
    np.testing.assert_allclose(target, part["targets"][window, :, 0] * dataset.scale)
    read = [line.get_ydata() for line in one.child_axes[0].lines]
    assert len(read) == load("wind_farm").inputs.shape[2]


def test_a_typical_window_varies_as_much_as_most():
    varied = np.array([3.0, 1.0, 9.0])[:, None] * np.arange(4)
    assert typical(varied) == 0


def test_the_committed_picture_is_small_and_no_wider_than_a_page():
    with PATH.open("rb") as file:
        width, height = np.frombuffer(file.read(24)[16:], ">u4")
    assert width <= 150 * WIDEST
    assert height > 150 * len(STUDY) / 3
    assert PATH.stat().st_size < 300e3
