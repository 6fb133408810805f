"""Packages for a machine with a GPU and no network, small and in parts: `perf/wheels`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from benchmarks.analyzer.tool import PerfAnalyzer
from benchmarks.gpu.fatbin import blank
from faceblur.errors import FaceblurError, InputError

PACKAGES: Final = (
    "attrs",
    "cattrs",
    "click",
    "filelock",
    "flatbuffers",
    "grpcio",
    "lazy-loader",
    "numpy<2",
    "nvidia-pytriton==0.7.0",
    "onnxruntime-gpu",
    "packaging",
    "platformdirs",
    "prometheus-client",
    "protobuf>=5,<7",
    "python-rapidjson",
    "pyyaml",
    "tritonclient",
    "typing-extensions",
)
"""What a machine with PyTorch's CUDA libraries, OpenCV, Pillow, Matplotlib and onnx lacks.

The NumPy too: Triton's Python backend answers with empty tensors where it meets NumPy 2.
"""

PLATFORMS: Final = ("manylinux_2_35", "manylinux_2_34", "manylinux_2_28", "manylinux_2_27",
                    "manylinux_2_24", "manylinux_2_17", "manylinux2014", "manylinux1")  # fmt: skip

UNUSED: Final = (
    r"onnxruntime/(tools|transformers|quantization|datasets)/",
    r"onnxruntime/capi/libonnxruntime\.so",  # for plug-ins; Python's own holds it all
    r"onnxruntime/ThirdPartyNotices",
    r"pytriton/tritonserver/python_backend_stubs/(?!{python}/)",
    r"nvidia_pytriton\.libs/libpython",
    r"grpc/_cython/_credentials/.*\.test",
    r"tests?/",
)
"""Of the packages, as patterns."""

CUDA_PROVIDER: Final = "onnxruntime/capi/libonnxruntime_providers_cuda.so"
LANGUAGE_MODELS: Final = (b"moe_gemm", b"cutlass", b"flash_", b"fmha", b"fpA_intB", b"xqa_")
"""Parts of the names of kernels that no detector runs, most of the provider."""

_STDLIB_UNUSED: Final = re.compile(
    r"(site-packages|test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|config-3[^/]*|__pycache__)"
)


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--compute-capability", default="9.0", show_default=True, help="Of the GPU.")
@click.option("--part-mb", default=40.0, show_default=True, help="Of one part, at most.")
@click.option("--add", multiple=True, help="Another package, as pip names it.")
@click.option("--video", is_flag=True, help="Carry PyAV too: videos as sources, and masked videos.")
def wheels(
    *, output: Path, compute_capability: str, part_mb: float, add: tuple[str, ...], video: bool
) -> None:
    """Write parts of an environment for `perf/run gpu`, and `install.sh`, into OUTPUT.

    It holds this interpreter, which must be CPython 3.10-3.12 built with a shared libpython
    (Triton's Python backend is linked to it, and Debian's and Ubuntu's python3 lacks it), the
    packages, and perf_analyzer. The rest comes from the python3 of the other machine.
    """
    try:
        packages = [*PACKAGES, *add, *(["av>=17.1"] if video else [])]
        with tempfile.TemporaryDirectory(prefix="faceblur-wheels-") as name:
            root = Path(name, "root")
            _lay_out_python(root / "python")
            _fetch(packages, Path(name, "wheels"))
            _unpack(Path(name, "wheels"), _site(root))
            _shrink(_site(root) / CUDA_PROVIDER, compute_capability)
            _add_perf_analyzer(root, Path(name, "cache"))
            _strip(root)
            parts = _write_parts(root, output, round(part_mb * 1e6))
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is not installed; run: pip install zstandard"
        ) from error
    except (FaceblurError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    for part in parts:
        click.echo(f"{part.name}: {part.stat().st_size / 1e6:.1f} MB")


def _site(root: Path) -> Path:
    return root / "python" / "lib" / _python_name() / "site-packages"


def _python_name() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _lay_out_python(target: Path) -> None:
    """Copy this interpreter: its program, its library and the standard library."""
    library = sysconfig.get_config_var("LDLIBRARY") or ""
    instance = str(sysconfig.get_config_var("INSTSONAME") or "")
    folder = Path(sysconfig.get_config_var("LIBDIR") or "")
    if not library.endswith(".so") or not (folder / instance).is_file():
        raise InputError(
            f"{sys.executable} has no shared libpython, which Triton's Python backend needs; run "
            "this with one built with --enable-shared (uv's and conda's are)"
        )
    (target / "bin").mkdir(parents=True)
    (target / "lib").mkdir()
    program = Path(sys.base_prefix, "bin", _python_name())
    shutil.copyfile(program.resolve(), target / "bin" / _python_name())
    (target / "bin" / _python_name()).chmod(0o755)
    for name in ("python3", "python"):
        (target / "bin" / name).symlink_to(_python_name())
    shutil.copyfile(folder / instance, target / "lib" / instance)
    source = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    shutil.copytree(source, target / "lib" / _python_name(), ignore=_unused)
    (target / "lib" / _python_name() / "site-packages").mkdir()


def _unused(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if _STDLIB_UNUSED.fullmatch(name)]


def _fetch(packages: Sequence[str], folder: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation=cp", f"--python-version={version}"]
    command += [f"--platform={name}_x86_64" for name in PLATFORMS]
    done = subprocess.run(
        [*command, "--dest", str(folder), *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["it gave no reason"]
        raise InputError(f"pip could not fetch the packages: {lines[-1]}")


def _unpack(wheels: Path, site: Path) -> None:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    unused = [re.compile(pattern.replace("{python}", re.escape(python))) for pattern in UNUSED]
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if member.is_dir() or any(p.search(member.filename) for p in unused):
                    continue
                path = Path(archive.extract(member, site))
                if (member.external_attr >> 16) & 0o111:
                    path.chmod(0o755)


def _shrink(provider: Path, compute_capability: str) -> None:
    content = bytearray(provider.read_bytes())
    architecture = round(float(compute_capability) * 10)
    gone, kept = blank(content, architecture=architecture, without=LANGUAGE_MODELS)
    provider.write_bytes(content)
    click.echo(f"GPU code: {kept / 1e6:.1f} MB kept, {gone / 1e6:.1f} MB blanked", err=True)


def _add_perf_analyzer(root: Path, cache: Path) -> None:
    """The program with what it is linked to, behind a script that finds it."""
    tool = PerfAnalyzer.find(cache)
    target = root / "perf_analyzer"
    target.mkdir()
    shutil.copyfile(tool.program.resolve(), target / "perf_analyzer")
    (target / "perf_analyzer").chmod(0o755)
    for library in _linked(tool):
        shutil.copyfile(library, target / library.name)
    script = root / "python" / "bin" / "perf_analyzer"
    script.write_text(
        '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")/../../perf_analyzer\n'
        'LD_LIBRARY_PATH="$here:$LD_LIBRARY_PATH" exec "$here/perf_analyzer" "$@"\n'
    )
    script.chmod(0o755)


def _linked(tool: PerfAnalyzer) -> Iterator[Path]:
    """Libraries of its own, none of the C or C++ library's."""
    environment = os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, tool.libraries))}
    done = subprocess.run(
        ["ldd", str(tool.program)], env=environment, capture_output=True, text=True, check=True
    )
    for path in re.findall(r"=> (/\S+)", done.stdout):
        if not re.match(
            r"(ld-|libc\.|libm\.|libdl|librt|libpthread|libstdc|libgcc)", Path(path).name
        ):
            yield Path(path)


def _strip(root: Path) -> None:
    """Drop debugging symbols of what was not stripped."""
    if shutil.which("strip") is None:
        return
    for path in [root / "python" / "bin" / _python_name(), *root.glob("python/lib/*.so*"),
                 *root.glob("python/lib/*/lib-dynload/*.so")]:  # fmt: skip
        subprocess.run(["strip", "--strip-unneeded", str(path)], check=False)


def _write_parts(root: Path, output: Path, part_bytes: int) -> list[Path]:
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("part-*"):
        old.unlink()
    archive = output / "all.tar.xz"
    # In blocks, which several cores pack and unpack at the same time.
    command = ["xz", "--stdout", "-6", "--threads=0", "--block-size=16MiB"]
    with archive.open("wb") as target:
        packer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target)
        assert packer.stdin is not None
        with packer.stdin, tarfile.open(fileobj=packer.stdin, mode="w|") as tar:
            tar.add(root, arcname=".")
        if packer.wait():
            raise InputError("xz failed; is the disk full?")
    parts, sums = [], []
    with archive.open("rb") as stream:
        for number in range(1000):
            piece = stream.read(part_bytes)
            if not piece:
                break
            parts.append(output / f"part-{number:02d}")
            parts[-1].write_bytes(piece)
            sums.append(f"{hashlib.sha256(piece).hexdigest()}  {parts[-1].name}\n")
    archive.unlink()
    (output / "sums").write_text("".join(sums))
    script = output / "install.sh"
    script.write_text(INSTALL.replace("PYTHON_NAME", _python_name()))
    script.chmod(0o755)
    return [*parts, script, output / "sums"]


INSTALL: Final = """\
#!/bin/sh
# Usage: sh install.sh PARTS TARGET, then: . TARGET/environment
# Unpacks the environment and joins it with the packages of this machine's python3.
set -eu
parts=$(readlink -f "$1") target=$2
(cd "$parts" && sha256sum --check --quiet sums)
mkdir -p "$target"
target=$(readlink -f "$target")
if command -v xz >/dev/null; then
    cat "$parts"/part-* | xz --decompress --stdout --threads=0 | tar --extract --directory "$target"
else
    cat "$parts"/part-* | python3 -c '
import sys, tarfile
with tarfile.open(fileobj=sys.stdin.buffer, mode="r|xz") as tar:
    tar.extractall(sys.argv[1], filter="fully_trusted")' "$target"
fi
site="$target/python/lib/PYTHON_NAME/site-packages"
machine=$(python3 -c '
import pathlib, sys, numpy
here = "python%d.%d" % sys.version_info[:2]
if here != sys.argv[1]: sys.exit(f"the python3 of this machine is {here}, not {sys.argv[1]}")
print(pathlib.Path(numpy.__file__).parents[1])' PYTHON_NAME)
echo "import site; site.addsitedir('$machine')" > "$site/machine.pth"
[ ! -d "$machine/nvidia" ] || [ -e "$site/nvidia" ] || ln -s "$machine/nvidia" "$site/nvidia"
libraries=$(find "$machine"/nvidia -type d -name lib 2>/dev/null | tr '\\n' ':')
cat > "$target/environment" <<END
export PATH="$target/python/bin:\\$PATH"
export LD_LIBRARY_PATH="$target/python/lib:$libraries\\${LD_LIBRARY_PATH:-}"
export CUDA_MODULE_LOADING=LAZY
unset PYTHONHOME PYTHONPATH
END
"""
