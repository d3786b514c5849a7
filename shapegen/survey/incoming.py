"""What a browser may send: checked before anything of it is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shapegen.survey.answers import CONFIDENCES, Answer
from shapegen.survey.study import Reader, Study

COMMENT = 2000
AT_ONCE = 200
_DAY = 86_400.0


class _Incoming(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    answer: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    item: str
    choice: Literal["real", "synthetic"]
    confidence: Annotated[int, Field(ge=CONFIDENCES[0], le=CONFIDENCES[1])]
    reasons: Annotated[list[str], Field(max_length=50)]
    comment: Annotated[str, StringConstraints(max_length=COMMENT)]
    seconds: Annotated[float, Field(ge=0, le=_DAY, allow_inf_nan=False)]


def parse_answers(data: Any, study: Study, reader: Reader) -> tuple[list[Answer], dict[str, str]]:
    """Return the good answers of a request's JSON, and for each bad one its id and what is wrong: one bad answer costs
    none of the others.

    Raises:
        ValueError: the request is no list of at most 200 answers with ids.
    """
    rows = data.get("answers") if isinstance(data, dict) else None
    if not isinstance(rows, list) or len(rows) > AT_ONCE:
        raise ValueError(f"expected a list of at most {AT_ONCE} answers")
    good, refused = [], {}
    shown = {showing.id for showing in reader.showings}
    for row in rows:
        name = row.get("answer") if isinstance(row, dict) else None
        if not isinstance(name, str):
            raise ValueError("expected answers with an id")
        try:
            found = _Incoming.model_validate(row)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            refused[name] = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            continue
        if found.item not in shown:
            refused[name] = "item: no such shape"
        elif unknown := set(found.reasons) - set(study.reasons):
            refused[name] = f"reasons: {len(unknown)} are not on the list"
        else:
            fields = found.model_dump()
            good.append(Answer(**{**fields, "reasons": tuple(dict.fromkeys(found.reasons))}))
    return good, refused
