module matrix-platform/tools/pause

go 1.25.0
