"""What a profile says of the lawful-intercept instance's Synapse."""

from attrs import frozen

from kit.quantities import Resources


@frozen
class SynapseLiSize:
    """One process: it serves officers, who are few."""

    resources: Resources
