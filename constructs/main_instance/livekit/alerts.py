"""What is known of LiveKit's nodes."""

from kit.monitoring import Alert, Severity

ALERTS = (
    Alert(
        "LiveKitNodeDown",
        'up{job="livekit"} == 0',
        1,
        Severity.CRITICAL,
        "{{ $labels.pod }} on {{ $labels.node }} does not answer: the calls on it have ended, and begin anew on another one.",
        ("TargetDown",),
    ),
)
