target "app" {
  name = "app-${os}"
  matrix = { os = ["alpine", "bookworm"] }
  dockerfile = os == "alpine" ? "alpine.Dockerfile" : "Dockerfile"
  contexts = {
    go-base = "docker-image://mirror.example.com/hub/library/golang:1-${os}"
  }
}
