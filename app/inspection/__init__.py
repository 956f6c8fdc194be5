"""What reads rendered objects alone: who reaches whom, what they request, which images they pull, whether a secret is in them.

Nothing here knows how an object was made, and nothing that makes objects knows of this, so that what is found here is evidence.
"""
