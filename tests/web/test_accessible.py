"""The page for everybody: with the keyboard alone, on a phone, in the dark, read out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from accessibility import WIDTH
from accessibility import faults as _faults
from media import Recording, moving_face_video
from playwright.sync_api import Browser, FileChooser, Page
from web_page import FILES_SHOWN, Served, asked

Start = Callable[..., Served]
PHOTO = Path(__file__).resolve().parents[2] / "docs" / "images" / "before.jpg"


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """A window as wide as a phone's."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 844}, reduced_motion="reduce")
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    yield opened
    context.close()


_PLACES = """() => [...document.querySelectorAll("body *")]
  .filter((node) => node.checkVisibility() && !node.closest(".unseen, span, option"))
  .map((node) => [node.outerHTML.slice(0, 80), node.getBoundingClientRect()])
  .map(([what, { left, right, top }]) => [what, left, right, top])"""


_BOTH_WAYS = f"""() => {{
  // At once, so that nothing else changes in between, such as an image that has come.
  const places = {_PLACES};
  const root = document.documentElement;
  const before = places();
  root.dir = "rtl";
  const turned = places();
  const width = root.scrollWidth;
  root.dir = "ltr";
  return [before, turned, width];
}}"""

_ASK_WHILE_CHECKED = """async () => {
  const job = `/api/jobs/${document.querySelector("li").dataset.id}`;
  const state = async () => (await (await fetch(job)).json()).state;
  return [await state(), (await fetch(`${job}/result`)).status, await state()];
}"""


def _not_mirrored(page: Page) -> list[str]:
    """What is elsewhere than it would be seen in a mirror, where lines begin on the right."""
    places, turned, width = page.evaluate(_BOTH_WAYS)
    found = [] if width <= WIDTH else ["too wide"]
    for (what, left, right, top), (_, other_left, other_right, other_top) in zip(
        places, turned, strict=True
    ):
        moved = abs(WIDTH - right - other_left), abs(WIDTH - left - other_right)
        if max(*moved, abs(top - other_top)) > 1:
            found.append(what)
    return found


def _press_to(page: Page, selector: str) -> None:
    """Go to an element as who has no mouse does, and see that it shows where one is."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            shown = "e => (e.labels?.length ? e.labels[0] : e)"
            ring = f"e => getComputedStyle(({shown})(e)).outlineStyle"
            assert page.eval_on_selector(":focus", ring) == "solid"
            return
    raise AssertionError(f"the keyboard does not reach {selector}")


def test_the_page_is_for_everybody(small: Start, phone: Page, tmp_path: Path) -> None:
    page = phone
    clip = tmp_path / "a-name-that-is-much-longer-than-a-phone-is-wide-and-has-no-spaces.mp4"
    moving_face_video(clip, frames=40, width=320, height=180)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(PHOTO.read_bytes()[:3000])
    # From the beginning, for a dialog that opens before the browser knows is not handed over.
    choosers: list[FileChooser] = []
    page.on("filechooser", lambda chooser: choosers.append(chooser))
    site = small(min_face=999)
    page.goto(site.address)
    page.wait_for_url(f"{site.base}/")  # the page was let in
    assert _faults(page) == []
    _press_to(page, "#files")
    with page.expect_file_chooser():
        page.keyboard.press("Space")
    with site.held("masking"):
        choosers[0].set_files([clip, PHOTO, broken])
        page.wait_for_selector("li[data-state=masking]")
        assert _faults(page) == []
    page.locator(FILES_SHOWN).nth(2).wait_for()
    assert page.locator("li[data-state=failed]").count() == 1
    assert page.locator("li[data-verdict=leaks]").count() == 2
    assert _faults(page) == []
    assert _not_mirrored(page) == []
    # What it sees: a label that is missing, and what is too wide.
    page.wait_for_selector("li input[type=range]")
    page.evaluate("document.querySelector('progress').hidden = false")
    page.evaluate("document.querySelector('li input[type=range]').removeAttribute('aria-label')")
    page.evaluate("document.querySelector('li .status').style.marginLeft = '5px'")
    assert len(_not_mirrored(page)) == 1
    page.evaluate("document.querySelector('h1').style.width = '400px'")
    assert [fault.split(": ")[-2] for fault in _faults(page)[:1]] == ["label"]
    assert _faults(page)[-1] == "wider than the phone"


def test_who_stays_visible_is_chosen_with_the_keyboard(
    start: Start, phone: Page, tmp_path: Path
) -> None:
    page = phone
    clip = tmp_path / "clip.mp4"
    sound = Recording(sounds=("eng",))
    moving_face_video(clip, frames=20, width=640, height=360, recording=sound)
    site = start()
    page.goto(site.address)
    # What is masked shows while it is checked, and cannot be saved before.
    with site.held("checking"):
        page.set_input_files("#files", clip)
        page.wait_for_selector("li[data-state=checking] video")
        assert page.evaluate(_ASK_WHILE_CHECKED) == ["checking", 404, "checking"]
        assert page.locator("li a:visible").count() == 0
    page.wait_for_selector("li[data-verdict=clean]")
    still = "getComputedStyle(document.querySelector('.button')).transitionDuration"
    assert page.evaluate(still) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(still) == "0.15s"
    _press_to(page, "li button[aria-label^=Choose]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".face input:focus")
    page.keyboard.press("Space")
    assert page.locator(".state").all_inner_texts() == ["Stays visible"]
    assert _faults(page) == []
    _press_to(page, ".people .main")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 person stays visible, as you chose.")
    assert page.inner_text("#said").endswith("Checked: no other face shows.")
    assert _faults(page) == []
    _press_to(page, "li button[aria-label^=Undo]")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 face covered")
    _press_to(page, "li button[aria-label^='Look and sound']")
    page.keyboard.press("Enter")
    page.wait_for_selector(".look input[type=radio]")
    page.check("text=Silence parts of it")
    page.check("text=Blocks of the face")
    page.wait_for_function("() => document.querySelector('.look img').naturalWidth > 0")
    assert _faults(page) == []
    assert _not_mirrored(page) == []
    page.click(".look >> text=Close")
    assert page.evaluate("document.activeElement.textContent") == "Look and sound"
    _press_to(page, "li a.save")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "clip_blurred.mp4"


def test_a_photo_is_corrected_with_the_keyboard(start: Start, phone: Page, tmp_path: Path) -> None:
    page = phone
    page.goto(start().address)
    page.set_input_files("#files", PHOTO)
    page.wait_for_selector("li[data-verdict=clean]")
    _press_to(page, "li button[aria-label^=Correct]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".editor[data-frame='1/0']")
    assert _faults(page) == []
    # Who opens it sees the image.
    top, height = "document.querySelector('.shown').getBoundingClientRect().top", "innerHeight"
    assert 0 <= page.evaluate(top) < page.evaluate(height) / 2
    # A photo has no place in time, and a box is not followed anywhere.
    assert page.locator(".timeline, .box .line:visible").count() == 0
    _press_to(page, ".here button")
    page.keyboard.press("Enter")
    assert page.inner_text(":focus") == "Put mask 1 back"
    assert page.locator(".shown .gone.lit").count() == 1
    page.locator(".slide input").fill("100")
    page.wait_for_function("() => document.querySelector('.shown .before').naturalWidth > 0")
    page.locator("text=Draw a box").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.type") == "number"
    page.keyboard.type("10")
    for _ in range(2):
        page.keyboard.press("ArrowUp")
    assert page.locator(".shown .draft rect").get_attribute("x") == "12"
    assert _faults(page) == []
    _press_to(page, ".box .main")
    page.keyboard.press("Enter")
    assert page.locator(".corrections li").all_inner_texts() == [
        "A mask removed\nTake back",
        "Covered where you drew a box\nTake back",
    ]
    _press_to(page, ".editor > .actions .main")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=1 mask removed, as you chose. Checked: no other face shows.")
    page.wait_for_selector(".editor[data-frame='2/0']")
    assert _faults(page) == []
    assert "1 drawn box covered" in page.inner_text("li .status")
    _press_to(page, "li button[aria-label^=Undo]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".corrections", state="hidden")
    page.click(".editor >> text=Close")
    assert page.evaluate("document.activeElement.ariaLabel").startswith("Correct")
    # What had the focus is gone with its card, and then with all of them.
    page.set_input_files("#files", PHOTO)
    page.locator("li[data-state=done]").nth(1).wait_for()
    # One is deleted elsewhere while it is corrected: what was done is not lost.
    page.locator("li button[aria-label^=Correct]").first.click()
    page.locator(".here button").first.focus()
    page.keyboard.press("Enter")
    number = page.get_attribute("li", "data-id")
    assert asked(page, "DELETE", f"/api/jobs/{number}") == 204
    page.wait_for_selector("text=or had been kept for 30 minutes. To go on, drop the file again.")
    assert page.inner_text(":focus") == "Save corrections"
    assert "Your corrections are not lost yet" in page.inner_text("#said")
    top = "document.activeElement.getBoundingClientRect().top"
    assert 0 <= page.evaluate(top) < page.evaluate(height)
    assert _faults(page) == []
    assert _not_mirrored(page) == []
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    kept = tmp_path / "corrections.json"
    download.value.save_as(kept)
    page.locator("li button[aria-label^=Correct]").last.click()
    page.wait_for_selector(".editor[data-frame='1/0']")
    page.set_input_files(".editor input[type=file]", kept)
    page.wait_for_selector(".corrections >> text=A mask removed")
    page.click(".editor >> text=Close")
    page.locator("li button[aria-label^=Delete]").first.focus()
    page.keyboard.press("Enter")
    page.locator("li").nth(1).wait_for(state="detached")
    assert page.locator("li a.save:focus").count() == 1
    page.focus("#delete-all")
    page.keyboard.press("Enter")
    assert page.inner_text(".question h2") == "Delete the file here?"
    assert _faults(page) == []
    assert _not_mirrored(page) == []
    # Who presses too soon, or wants out, loses nothing.
    assert page.inner_text(":focus") == "Keep everything"
    page.keyboard.press("Escape")
    page.wait_for_selector(".question", state="hidden")
    assert page.evaluate("document.activeElement.id") == "delete-all"
    assert page.locator("li[data-state=done]").count() == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.inner_text(":focus") == "Delete all"
    page.keyboard.press("Enter")
    page.wait_for_selector("li", state="detached")
    assert page.evaluate("document.activeElement.id") == "files"
