"""What an observer sees of the images when features are sent instead: inversion attacks on a network's own split.

The paper calls the first convolution an encryption module; He et al. 2019 ("Model inversion attacks against
collaborative inference", ACSAC) invert such features. Needs the extra `torch`.
"""

from __future__ import annotations

from hddnn.audit.attacks import ATTACKS
from hddnn.audit.effort import Effort
from hddnn.audit.measure import Audit, Auditor, Setting

__all__ = ["ATTACKS", "Audit", "Auditor", "Effort", "Setting"]
