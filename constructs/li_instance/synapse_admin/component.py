"""Ketesa: accounts and rooms of the lawful-intercept instance, for officers in a browser."""

from main_instance.synapse_admin.component import SynapseAdmin


class SynapseAdminLi(SynapseAdmin):
    """The same as the main instance's, whose administrators are others."""

    directory = "03-synapse-admin"
