"""The page: whole in itself, the same each time, and sound in a browser."""

import html
import json
import re
import shutil
import subprocess

import pytest

from ramjax.notice import NOTE
from ramjax.reporting.write import write_report
from tests.reporting.conftest import REPLICATES

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')

PROBE = """<script>
const violations = [];
document.addEventListener("securitypolicyviolation", event => violations.push(event.blockedURI));
const errors = [];
addEventListener("error", event => errors.push(event.message ?? event.target.outerHTML.slice(0, 80)), true);
addEventListener("load", () => {
  const folded = [...document.querySelectorAll("details")];
  const closed = folded.filter(it => !it.querySelector("table").checkVisibility()).length;
  folded.forEach(it => it.querySelector("summary").click());
  const ids = [...document.querySelectorAll("[id]")].map(it => it.id);
  const wide = [...document.querySelectorAll("body *")].filter(it =>
    !it.closest(".scroll, svg") && it.getBoundingClientRect().right > innerWidth + 0.5);
  const found = {
    width: innerWidth,
    overflow: document.documentElement.scrollWidth - innerWidth,
    wide: wide.map(it => it.outerHTML.slice(0, 80)),
    images: document.images.length,
    broken: [...document.images].filter(it => !it.complete || it.naturalWidth === 0).length,
    unnamed: [...document.images].filter(it => !it.alt).length
      + [...document.querySelectorAll("svg")].filter(it => !it.getAttribute("aria-label")).length,
    folded: folded.length,
    closed,
    opened: folded.filter(it => it.open && it.querySelector("table").checkVisibility()).length,
    links: document.querySelectorAll("nav a").length,
    dangling: [...document.querySelectorAll("a")].filter(it => !document.getElementById(it.hash.slice(1))).length,
    twice: ids.filter((id, index) => ids.indexOf(id) !== index),
    headless: [...document.querySelectorAll("th")].filter(it => !it.scope || !it.textContent.trim()).length,
    captions: [...document.querySelectorAll("table")].filter(it => !it.caption).length,
    small: [...document.querySelectorAll("svg")].filter(svg => svg.checkVisibility()).filter(svg => {
      const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      return [...svg.querySelectorAll("text")].some(it => parseFloat(getComputedStyle(it).fontSize) * scale < 9);
    }).length,
    spilling: [...document.querySelectorAll("svg")].filter(svg => [...svg.querySelectorAll("text")].some(it => {
      const [box, frame] = [it.getBoundingClientRect(), svg.getBoundingClientRect()];
      return box.left < frame.left - 3 || box.right > frame.right + 3;
    })).map(it => it.getAttribute("aria-label").slice(0, 60)),
    ground: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.querySelector("svg text")).fill,
    requests: performance.getEntriesByType("resource").map(it => it.name).filter(it => !it.startsWith("data:")),
    violations, errors,
  };
  parent.postMessage(JSON.stringify(found), "*");
});
</script>"""


FRAME = """<!doctype html><html style="color-scheme: light dark"><body><script>
addEventListener("message", event => {
  const place = document.createElement("script");
  place.type = "application/json";
  place.id = "found";
  place.textContent = event.data;
  document.body.append(place);
});
</script><iframe src="copy.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe></body></html>"""
# A window cannot be as narrow as a phone, a frame can.


def browse(page, folder, width: int, dark: bool) -> dict:
    """Opens a copy of the page with a script in it, at a width, and returns what that saw."""
    text = page.read_text()
    policy = POLICY.search(text)[1]
    assert "script" not in policy
    allowed = POLICY.sub(lambda m: m[0].replace(policy, f"{policy}; script-src 'unsafe-inline'"), text)
    (folder / "copy.html").write_text(allowed.replace("</head>", PROBE + "</head>"))
    frame = folder / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={folder / 'profile'}",
            "--window-size=1600,1000", "--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    match = re.search(r'<script type="application/json" id="found">(.*?)</script>', done.stdout, re.DOTALL)
    assert match, done.stderr[-2000:]
    return {**json.loads(html.unescape(match[1])), "console": console}


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("single", 390, True), ("single", 1280, False), ("several", 390, False), ("wrists", 390, True)],
)
def test_a_browser_finds_nothing_amiss(request, tmp_path, name, width, dark):
    found = browse(request.getfixturevalue(name) / "report.html", tmp_path, width, dark)
    assert found["width"] == width and found["overflow"] <= 0 and found["wide"] == []
    assert found["console"] == found["errors"] == found["violations"] == found["requests"] == []
    assert found["images"] == {"single": 18, "several": 36, "wrists": 0}[name] and found["broken"] == 0
    assert found["folded"] == found["closed"] == found["opened"] > 1
    assert found["links"] > 4 and found["dangling"] == 0 and found["twice"] == []
    assert found["unnamed"] == found["headless"] == found["captions"] == found["small"] == 0
    assert found["spilling"] == []
    ground, ink = ([int(n) for n in re.findall(r"\d+", found[key])[:3]] for key in ("ground", "ink"))
    assert (max(ground) < 60 and min(ink) > 200) if dark else (min(ground) > 240 and max(ink) < 60)


@pytest.mark.parametrize("name", ["single", "several", "wrists"])
def test_the_page_asks_for_nothing_from_elsewhere(request, name):
    text = (request.getfixturevalue(name) / "report.html").read_text()
    for attribute, address in re.findall(r'\b(src|href|srcset|action|poster)="([^"]*)"', text):
        assert address.startswith(("#", "data:")), f"{attribute} {address[:60]}"
    assert all(address.startswith("#") for address in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text and "<script" not in text and "<iframe" not in text
    assert "default-src 'none'" in POLICY.search(text)[1]
    assert len(text) < 15_000_000


def test_the_page_says_what_it_is_and_whom_it_is_not_about(single):
    text = html.unescape((single / "report.html").read_text())
    assert text.count(NOTE) == 2 and '<html lang="en">' in text
    for words in (
        "24 of Synthetic hands",
        "best on validation",
        "0123456789ab",
        "native pixels",
        "2 px",
        "3.20 M",
    ):
        assert words in text
    assert "ram_phantom-p" not in text  # keys of patients
    assert "seed 0" in text and f"{REPLICATES} bootstrap replicates" in text


def test_the_same_runs_give_the_same_bytes(runs, single, tmp_path):
    write_report([str(runs / "a")], tmp_path / "report.html", REPLICATES)
    for name in ("report.html", "cases.parquet", "tables.csv", "tables.tex"):
        assert (tmp_path / name).read_bytes() == (single / name).read_bytes(), name


def test_names_are_text_and_never_markup(tmp_path):
    from tests.reporting import fakes

    of = fakes.cases(6, tasks=("be",))
    of.attributes["center"][:3] = "<img src=x onerror=alert(1)>"
    folder = fakes.write_run(tmp_path / 'a"b<i>', of, pictures=False, curves=False)
    write_report([str(folder)], tmp_path / "out" / "report.html", REPLICATES)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "<img src=x" not in text and "&lt;img src=x" in text and "<i>" not in text
