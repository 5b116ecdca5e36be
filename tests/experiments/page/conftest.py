"""One sweep and one browser for every check of a page."""

import shutil

import pytest

from experiments.page import build
from tests.experiments.page import sweeps

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if not (CHROMIUM and DRIVER):
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Of a sweep with its page, which no test changes."""
    found = sweeps.make(tmp_path_factory.mktemp("results") / "full <1>")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.draw, "draw_all", sweeps.draw)
        build.build(found)
    return found


@pytest.fixture(scope="session")
def text(folder):
    return (folder / "report.html").read_text(encoding="utf-8")
