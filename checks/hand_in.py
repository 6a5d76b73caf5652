"""What a student hands in, in one zip."""

import zipfile

from ddpm.files import replacing

WORK = (
    *("exercise*.py", "exercise*.png", "exercise*.gif", "*_diffusion_demo.png"),
    *("my_morph.gif", "generated_samples/*.png", "notebooks/exercise*.ipynb"),
    *("worksheet.md", "comparison_results/comparison.html"),
)


def pack(folder, path):
    """Write the zip `path` with the work in `folder`; returns how many files it has."""
    files = [p for pattern in WORK for p in folder.glob(pattern) if p.is_file()]
    how = {"compression": zipfile.ZIP_DEFLATED, "strict_timestamps": False}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", **how) as packed:
        for file in sorted(files):
            packed.write(file, file.relative_to(folder))
    return len(files)
