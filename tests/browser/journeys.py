"""What journeys share: a chapter run in JupyterLab, the widgets in it, their controls and their picture."""

import re

LONG = 240_000  # milliseconds
PRESSES = 4  # of a key, as of somebody who sees that the handle stays: a slider that is still being laid out loses some
LOGS = []  # of the JupyterLab that is used
PICTURE = """box => [...box.querySelectorAll("img, svg, table, .tale")]
    .filter(node => node.checkVisibility({ visibilityProperty: true })).map(node => node.src || node.outerHTML).join()"""

RANGE = "node => [node.value ?? node.ariaValueNow, node.max ?? node.ariaValueMax].map(Number)"


def run_all(browser, lab: str, chapter: str, faults: list[str]):
    """A page with a chapter in JupyterLab, its cells run; what the console calls an error goes to `faults`."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{lab}/lab/tree/notebooks/{chapter}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=LONG)
    page.add_locator_handler(  # JupyterLab asks for a kernel when it starts slowly
        page.locator(".jp-Dialog"), lambda dialog: dialog.locator(".jp-mod-accept").click()
    )
    page.locator(".jp-StatusBar-Widget", has_text="| Idle").wait_for(timeout=LONG)
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    prompts = page.locator(".jp-CodeCell .jp-InputPrompt")
    for i in range(LONG // 100):
        said = [prompt.strip() for prompt in prompts.all_inner_texts()]
        if re.fullmatch(r"\[\d+\]:", said[-1]):
            return page
        if i % 20 == 0 and set(said) == {"[ ]:"}:  # a kernel that has just started may lose a run
            page.get_by_role("menuitem", name="Run", exact=True).click()
            page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_timeout(100)
    raise AssertionError(f"{chapter} did not run to its last cell")


def vboxes(page) -> list:
    """The outermost VBox of each widget in JupyterLab."""
    return page.locator(
        ".jp-OutputArea-output > .widget-vbox, "
        ".jp-OutputArea-output .jupyter-widgets-view > .widget-vbox"
    ).all()


def picture(box) -> str:
    """All that a box shows as images, drawings, tables and shaded text; not the values beside its controls."""
    return box.evaluate(PICTURE)


def changed(page, box, before: str) -> str:
    """The picture, once it differs from `before`."""
    for _ in range(LONG // 100):
        page.wait_for_timeout(100)
        if (now := picture(box)) != before:
            return now
    raise AssertionError(f"the picture did not change{said_by_the_lab(page)}")


def said_by_the_lab(page) -> str:
    """What JupyterLab knows of its kernels, and the end of its log: for a journey that got no answer."""
    if "/lab/" not in page.url:
        return ""
    kernels = page.request.get(page.url.partition("/lab/")[0] + "/api/kernels").text()
    return f"; kernels: {kernels}; log: {LOGS[0].read_text()[-2000:] if LOGS else ''}"


def settle(page) -> None:
    """Wait until no kernel of a JupyterLab computes: a slider's message waits until it is idle."""
    if "/lab/" in page.url:
        page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(
            timeout=LONG
        )


def move(page, box, handle) -> str:
    """Move a slider by a step, up or from its upper end down, and see the picture change; one that moved has no second try."""
    settle(page)
    before, (first, most) = picture(box), handle.evaluate(RANGE)
    for _ in range(PRESSES):
        handle.press("ArrowRight" if first < most else "ArrowLeft")
        for _ in range(10):
            page.wait_for_timeout(100)
            if handle.evaluate(RANGE)[0] != first:
                return changed(page, box, before)
    raise AssertionError("the slider did not move")


def choose(page, box, menu) -> None:
    """Choose the second entry of a menu, and see the picture change."""
    before = picture(box)
    menu.select_option(index=1)
    changed(page, box, before)
