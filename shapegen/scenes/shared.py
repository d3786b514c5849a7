"""The scans that all runs have: how the organs lie to one another there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shapegen.errors import NoUsableDataError
from shapegen.scenes.members import Member, Rows, Seen

FEWEST = 8
"""Patients without whom nothing can be said of how organs go together."""
FARTHEST_MM = 700.0
"""Two organs of a trunk do not lie this far apart: their files are not in one frame."""
TURNED = np.pi / 2
"""An organ that alignment turned farther was taken for another way round."""
LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """What is known of every shared scan; one array for each organ, the reference first.

    Args:
        scans: [n] names.
        patients: [n] groups.
        latents: [n, d], as `Seen` has them.
        turns: [n, 3], rotation vectors (radians) of the placements, in the organs' own frames.
        centres: [n, 3], mm, RAS: the canonical centre, seen from the reference's; zero for the reference.
        left_out: why, by scan.
    """

    scans: tuple[str, ...]
    patients: tuple[str, ...]
    latents: tuple[Rows, ...]
    turns: tuple[Rows, ...]
    centres: tuple[Rows, ...]
    left_out: dict[str, str]

    def __len__(self) -> int:
        return len(self.scans)

    def at(self, rows: Sequence[int]) -> Shared:
        """Return some of the scans."""
        index = np.asarray(rows, dtype=np.int64)
        return Shared(
            scans=tuple(self.scans[row] for row in rows),
            patients=tuple(self.patients[row] for row in rows),
            latents=tuple(each[index] for each in self.latents),
            turns=tuple(each[index] for each in self.turns),
            centres=tuple(each[index] for each in self.centres),
            left_out=self.left_out,
        )


def shared_scans(members: Sequence[Member], *, test: bool = False, fewest: int = FEWEST) -> Shared:
    """Collect the scans of which every run has its organ.

    Scans are the same where their files have the same stem; two are of one patient where any of the runs says so. A
    scan that is for testing in one of the runs is left out, and so is one in which alignment mirrored or turned an
    organ, or whose organs lie too far apart.

    Args:
        members: at least two.
        test: take test scans too, for measuring.
        fewest: patients that are needed.

    Raises:
        NoUsableDataError: there are too few.
    """
    from scipy.spatial.transform import Rotation

    reference, *others = members
    common = [scan for scan in reference.scans if all(scan in member.scans for member in others)]
    left_out: dict[str, str] = {}
    for scan in common:
        reason = _why_not([(member, member.scans[scan]) for member in members], test=test)
        if reason:
            left_out[scan] = reason
    kept = sorted(scan for scan in common if scan not in left_out)
    patients = _patients(members, kept)
    if len(set(patients)) < fewest:
        raise NoUsableDataError(_too_few(members, common, left_out, len(set(patients)), fewest))
    seen = [[member.scans[scan] for scan in kept] for member in members]
    at = [
        np.array([member.to_patient(each.placement).centre for each in rows])
        for member, rows in zip(members, seen, strict=True)
    ]
    return Shared(
        scans=tuple(kept),
        patients=patients,
        latents=tuple(np.array([each.latent for each in rows]) for rows in seen),
        turns=tuple(Rotation.from_matrix([each.placement.rotation for each in rows]).as_rotvec() for rows in seen),
        centres=tuple(each - at[0] for each in at),
        left_out=left_out,
    )


def _patients(members: Sequence[Member], scans: Sequence[str]) -> tuple[str, ...]:
    """Return each scan's patient: one name for scans that any run puts into one group, directly or by way of others."""
    names = {scan: scan for scan in scans}
    for member in members:
        groups: dict[str, str] = {}
        for scan in scans:
            first = groups.setdefault(member.scans[scan].patient, names[scan])
            own = names[scan]
            if own != first:
                names = {each: first if name == own else name for each, name in names.items()}
                groups = {group: first if name == own else name for group, name in groups.items()}
    return tuple(names[scan] for scan in scans)


def _why_not(organs: Sequence[tuple[Member, Seen]], *, test: bool) -> str:
    """Say why a scan cannot be learned from; empty: it can."""
    from scipy.spatial.transform import Rotation

    if not test and any(seen.split == "test" for _, seen in organs):
        return "it is for testing"
    centre = organs[0][0].to_patient(organs[0][1].placement).centre
    for member, seen in organs:
        if seen.placement.mirrored:
            return f"alignment mirrored its {member.name}"
        if Rotation.from_matrix(seen.placement.rotation).magnitude() > TURNED:
            return f"alignment turned its {member.name}"
        away = float(np.linalg.norm(member.to_patient(seen.placement).centre - centre))
        if away > FARTHEST_MM:
            return f"its {member.name} and {organs[0][0].name} lie {away:.0f} mm apart, not in one frame"
    return ""


def _too_few(
    members: Sequence[Member], common: Sequence[str], left_out: dict[str, str], found: int, fewest: int
) -> str:
    counts = ", ".join(f"{member.name} {len(member.scans)}" for member in members)
    text = (
        f"the runs share {found} patients with all organs to learn from, at least {fewest} are needed "
        f"(scans: {counts}; in all of them: {len(common)})"
    )
    if not common:
        names = "; ".join(f"{member.name}: {', '.join([*member.scans][:2])}" for member in members)
        return f"{text}; files of one scan need one name in all runs, found {names}"
    reasons = [f"{scan}: {reason}" for scan, reason in left_out.items()]
    return text + "".join(f"\n  {line}" for line in reasons[:LISTED])
