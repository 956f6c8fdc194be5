"""The rows of the dashboard of Synapse. Each process has `job`, the name of its worker type, and `index`, its number."""

CHOSEN = 'job=~"$worker",index=~"$index"'
"""The processes that are chosen at the top of the dashboard."""

PROCESS = "{{job}}-{{index}}"
"""What a process is called."""

ANSWERS = "synapse_http_server_response_time_seconds"
"""From a request to the end of its answer."""

SENDING = 'servlet="RoomSendEventRestServlet"'
ACCEPTED = 'code=~"2.."'
