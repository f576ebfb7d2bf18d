#!/usr/bin/python3
"""Style as a test: what a reviewer should not have to look for.

Includes go down the layers only, a foreign header has one home, files and
functions stay short, banned words stay out, each module has a test, and the
documents are in step with the code. Prints every finding; exit 1 if any.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SRC = ROOT / "src"

# Which folders each folder may include; the table in docs/ARCHITECTURE.md says the same.
MAY_USE = {
    "base": set(),
    "store": {"base"},
    "core": {"base", "store", "lease"},
    "consensus": {"base", "store", "core"},
    "peer": {"base", "store", "core", "lease"},
    "guard": {"base"},
    "pg": {"base", "store", "core"},
    "ops": {"base", "store", "core", "pg"},
    "http": {"base", "store", "core"},
    "conf": {"base"},
    "cli": {"base", "conf"},
    "agent": {"base", "store", "core", "consensus", "peer", "guard", "pg", "ops", "http", "conf",
              "lease"},
}
# main.c knows what it starts.
MAIN_MAY_USE = {"agent", "base", "conf", "consensus", "guard"}

HOMES = {
    r"raft(\.h|/)": {"consensus"},
    r"libpq-fe\.h": {"pg"},
    r"microhttpd\.h": {"http"},
    r"gnutls/": {"http"},
    r"yaml\.h": {"conf"},
    r"openssl/": {"peer"},
    r"curl/": {"cli"},
    r"jansson\.h": {"conf", "http", "cli"},
    r"uv\.h": {"consensus", "peer", "guard", "pg", "ops", "http", "agent"},
}

LINES_MAX = 800
FUNCTION_MAX = 70
COLUMNS_MAX = 100
TABLE_COLUMNS_MAX = 260  # Tables aligned by hand, between clang-format off and on.

BANNED = [
    (re.compile(r"\bsystem\s*\("), "system() is banned"),
    (re.compile(r"(?<![\w.>])sleep\s*\("), "sleep() is banned: wait for the event"),
    (re.compile(r"(?<![\w.>_])exit\s*\("), "exit() is banned outside main"),
    (re.compile(r"\b(FIXME|XXX)\b"), "FIXME/XXX"),
    (re.compile(r"\bTODO(?!\(#\d+\))"), "TODO without an issue"),
]

findings = []


def find(path, line, text):
    findings.append(f"{path.relative_to(ROOT)}:{line}: {text}")


def folder_of(path):
    return path.relative_to(SRC).parts[0] if path.parent != SRC else "main"


def check_include(path, number, line):
    folder = folder_of(path)
    ours = re.match(r'#include "([a-z_]+)/', line)
    if ours and ours[1] != "veche" and ours[1] != folder:
        allowed = MAIN_MAY_USE if folder == "main" else MAY_USE[folder]
        if ours[1] not in allowed:
            find(path, number, f"{folder}/ may not include {ours[1]}/")
    if re.match(r'#include "lease\.h"', line) and "lease" not in MAY_USE.get(folder, set()):
        find(path, number, f"{folder}/ may not include the lease library")
    foreign = re.match(r"#include <([^>]+)>", line)
    for pattern, homes in HOMES.items():
        if foreign and re.match(pattern, foreign[1]) and folder not in homes:
            find(path, number, f"<{foreign[1]}> has its home in {', '.join(sorted(homes))}/")
    if "clock_gettime" in line and path != SRC / "base/clock.c":
        find(path, number, "only base/clock.c reads a clock")


def check_functions(path, lines):
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            if number - start - 1 > FUNCTION_MAX:
                find(path, start, f"function of {number - start - 1} lines (at most {FUNCTION_MAX})")
            start = None


def check_source(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) > LINES_MAX:
        find(path, 1, f"{len(lines)} lines (at most {LINES_MAX})")
    if not lines or not lines[0].startswith("/*"):
        find(path, 1, "no head comment")
    if path.suffix == ".h" and not any(re.match(r"#ifndef [A-Z0-9_]+_H$", l) for l in lines[:40]):
        find(path, 1, "no include guard")
    columns_max = COLUMNS_MAX
    for number, line in enumerate(lines, 1):
        if "clang-format off" in line:
            columns_max = TABLE_COLUMNS_MAX
        elif "clang-format on" in line:
            columns_max = COLUMNS_MAX
        if len(line) > columns_max:
            find(path, number, f"{len(line)} columns (at most {columns_max})")
        if line != line.rstrip() or "\t" in line:
            find(path, number, "tab or trailing blank")
        check_include(path, number, line)
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        for pattern, text in BANNED:
            if pattern.search(code) and not code.lstrip().startswith(("*", "/*")):
                find(path, number, text)
    check_functions(path, lines)


def check_tests():
    """A folder's modules are tested by tests/unit/test_<folder>_*.c, or by the integration tests."""
    for folder in ("base", "store", "core", "consensus", "peer", "pg", "ops", "http", "conf", "cli"):
        if (SRC / folder).is_dir() and not list((ROOT / "tests/unit").glob(f"test_{folder}_*.c")):
            find(SRC / folder / "meson.build", 1, f"no tests/unit/test_{folder}_*.c")
    for path in sorted((ROOT / "tests/unit").glob("*.[ch]")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"\bassert_(not_)?in_range\(", line):
                find(path, number, "cmocka 2 has no such assertion: assert_between of test_between.h")
    built = (ROOT / "tests/unit/meson.build").read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests/unit").glob("test_*.c")):
        if f"'{path.stem}'" not in built:
            find(path, 1, "is not in tests/unit/meson.build: it never runs")


def check_documents():
    needed = ["README.md", "LICENSE", "docs/ARCHITECTURE.md", "docs/INVARIANTS.md",
              "docs/TESTING.md", "docs/COVERAGE.md", "docs/CONFIG.md"]
    for name in needed:
        if not (ROOT / name).exists():
            find(ROOT / name, 1, "is missing")
    architecture = ROOT / "docs/ARCHITECTURE.md"
    if architecture.exists():
        text = architecture.read_text(encoding="utf-8")
        for folder, allowed in MAY_USE.items():
            row = f"| {folder} | {', '.join(sorted(allowed)) or '-'} |"
            if row not in text:
                find(architecture, 1, f"the table of layers lacks the row: {row}")
    invariants = ROOT / "docs/INVARIANTS.md"
    if invariants.exists():
        text = invariants.read_text(encoding="utf-8")
        for name in ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "L1", "L2", "E1"):
            if not re.search(rf"\b{name}\b", text):
                find(invariants, 1, f"says nothing of {name}")


def check_repository():
    """Nothing of the machine it was made on, and no package mirror, is in the repository."""
    files = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split("\n")
    mirror = re.compile(r"https?://[a-z0-9.-]*(debian\.org|npmjs)", re.I)
    for name in files:
        path = ROOT / name
        if not name or not path.is_file() or path.stat().st_size > 1 << 20:
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if mirror.search(line) or "/work/" + "main" in line:
                find(path, number, "names a mirror or a path of one machine")


def main():
    for path in sorted(SRC.rglob("*.[ch]")):
        check_source(path)
    check_tests()
    check_documents()
    check_repository()
    print("\n".join(findings) if findings else "tidy: nothing found")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
