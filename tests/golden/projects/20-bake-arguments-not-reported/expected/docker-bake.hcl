target "default" {
  args = {
    BASE = "mirror.example.com/hub/library/debian:12"
  }
  contexts = {
    tools = "docker-image://mirror.example.com/hub/library/golang:1"
  }
}
