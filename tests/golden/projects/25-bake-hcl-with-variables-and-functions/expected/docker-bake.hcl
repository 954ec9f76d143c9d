variable "REGISTRY" { default = "mirror.example.com/hub" }
variable "TAG" {
  default = "1"
}

group "default" {
  targets = ["app", "tool"]
}

target "app" {
  dockerfile = "Dockerfile"
  args = {
    BASE    = "${REGISTRY}/library/debian:12"
    VERSION = TAG
    NODE    = "mirror.example.com/hub/library/node:${TAG}"
  }
  contexts = {
    "alpine"  = "docker-image://${REGISTRY}/library/alpine:3"
    "busybox" = "docker-image://mirror.example.com/hub/library/busybox:${TAG}"
  }
  tags = ["acme/app:${TAG}"]
}

target "tool" {
  dockerfile-inline = <<EOT
FROM mirror.example.com/hub/library/golang:1
RUN true
EOT
}

target "plain" {
  dockerfile-inline = "FROM quay.io/a/b"
}
