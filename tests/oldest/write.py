"""Write bundles of the whole zoo, and the losses they give here, for `check.py` in another environment.

python -m tests.oldest.write FOLDER
"""

import json
import sys
from pathlib import Path

from edge.plugins import names
from export import zoo
from export.training.update import Update
from export.transforms import heads
from export.transforms.trainable import select
from export.write import export
from tests.oldest.check import losses

WINDOW, IMAGE = (9, 32), (3, 32, 32)
SHAPES: dict[str, tuple[int, ...]] = {"ds-cnn": (1, 49, 10), "gru": WINDOW, "tcn": WINDOW, "tiny-transformer": WINDOW}
BOTH = "cross_entropy + 2*squared_error(reference)"


def main() -> None:
    """One bundle a model, and some with what the exporter can add."""
    folder = Path(sys.argv[1])
    for name in names("export.zoo"):
        if name == "resnet110":  # resnet56's layers, twice as many: a rounding in the first becomes 0.003 in the loss
            continue
        model = zoo.build(name, shape=SHAPES.get(name, IMAGE), classes=4)
        export(model, folder / name, objective=BOTH)
    model = zoo.build("small-cnn", shape=(1, 12, 12), classes=4)
    update = Update("adamw", clip_norm=1.0, accumulate=True)
    export(
        heads.add(model, 1), folder / "heads", objective=f"{BOTH} + soft_cross_entropy(reference,1)", optimizer=update
    )
    export(select(model, "lora:2"), folder / "lora", optimizer="adam")
    export(model, folder / "recomputed", segments=3, optimizer="nesterov")
    found = {path.name: losses(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    (folder / "losses.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
