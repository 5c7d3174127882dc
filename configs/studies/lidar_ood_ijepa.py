"""Is the model that LiDAR picks also good on other data? The runs of lidar_ijepa.

python reproduce.py --study=configs/studies/lidar_ood_ijepa.py
python reproduce.py --study=configs/studies/lidar_ood_ijepa.py:paper

As configs/studies/lidar_ood.py, which tells what is the paper's and which sets are taken. No run is
done twice.

Data: that of lidar_ijepa; `desk` also digits, which is installed, `paper` also the five sets.
Cost: python reproduce.py --study=configs/studies/lidar_ood_ijepa.py --dry
"""

from configs.studies import lidar_ijepa
from configs.studies.lidar_ood import evaluate_elsewhere
from sslx.studies.study import Study, check_scale


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    return evaluate_elsewhere(lidar_ijepa.get_study(scale), "lidar_ijepa", scale)
