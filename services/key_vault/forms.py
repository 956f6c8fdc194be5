"""What officers fill in."""

from datetime import UTC, datetime
from typing import Any

from django import forms

from services.key_vault.cases import Order, Role
from services.key_vault.configuration import service

LONGEST_LINE = 500


def _line(text: str) -> None:
    if not text.isprintable():
        raise forms.ValidationError("Write one line, without control characters.")


def _text(label: str, help_text: str = "", *, required: bool = True) -> forms.CharField:
    widget = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
    return forms.CharField(
        label=label, help_text=help_text, max_length=LONGEST_LINE, required=required, strip=True, validators=[_line], widget=widget
    )


class _Moment(forms.DateTimeField):
    """A time in UTC, to the minute, with the browser's own control."""

    def __init__(self, label: str, help_text: str) -> None:
        widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "60"}, format="%Y-%m-%dT%H:%M")
        super().__init__(label=label, help_text=help_text, input_formats=["%Y-%m-%dT%H:%M"], widget=widget)


class Request(forms.Form):
    """A case to be requested."""

    reference = _text("Reference of the order", "As the court or the authority writes it (AuthorisationReference).")
    legal_entity = _text("Issued by", "The court or authority that issued the order (AuthorisationLegalEntity).")
    legal_type = _text("Legal ground", "The law that the order rests on (AuthorisationLegalType).")
    document_name = _text("Document", "The name of the order's file or paper (DocumentName).")
    document_sha256 = forms.RegexField(
        r"^[0-9a-f]{64}$",
        label="SHA-256 of the document",
        required=False,
        help_text="64 characters, as `sha256sum` prints them. Empty if the order is on paper.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    manual_information = _text("What it is about", "One sentence for whoever approves it (AuthorisationManualInformation).")
    targets = forms.CharField(
        label="Targets",
        max_length=20_000,
        help_text="One a line: users (@name:server) or rooms (!id). A user covers the rooms they are or were in, if the operator has set that up.",
        widget=forms.Textarea(attrs={"rows": "4", "spellcheck": "false"}),
    )
    acting = forms.MultipleChoiceField(
        label="Officers who act under it", help_text="Only they can read. None of them can approve it.", widget=forms.CheckboxSelectMultiple
    )
    start = _Moment("From (UTC)", "Nothing can be read before.")
    end = _Moment("Until (UTC)", "Nothing can be read from then on.")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        investigators = [officer for officer in service().officers.values() if Role.INVESTIGATOR in officer.roles]
        field = self.fields["acting"]
        if isinstance(field, forms.MultipleChoiceField):
            field.choices = [(officer.id, f"{officer.name} ({officer.id})") for officer in investigators]

    def clean_targets(self) -> list[str]:
        """The lines that are not empty."""
        return [line.strip() for line in self.cleaned_data["targets"].splitlines() if line.strip()][:100]

    def order(self) -> Order:
        """What the order says."""
        data = self.cleaned_data
        names = ("reference", "legal_type", "legal_entity", "document_name", "document_sha256", "manual_information")
        return Order(*(data[name] for name in names))

    def window(self) -> tuple[datetime, datetime]:
        """Start and end."""
        return self.cleaned_data["start"].astimezone(UTC), self.cleaned_data["end"].astimezone(UTC)


class Reason(forms.Form):
    """Why something is done."""

    reason = _text("Reason", "It is recorded and cannot be changed afterwards.")


class Target(forms.Form):
    """Whose keys are asked for."""

    target = forms.CharField(max_length=255)
