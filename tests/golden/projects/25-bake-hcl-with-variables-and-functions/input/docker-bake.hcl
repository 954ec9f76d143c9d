variable "REGISTRY" { default = "docker.io" }
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
    NODE    = "node:${TAG}"
  }
  contexts = {
    "alpine"  = "docker-image://${REGISTRY}/library/alpine:3"
    "busybox" = "docker-image://busybox:${TAG}"
  }
  tags = ["acme/app:${TAG}"]
}

target "tool" {
  dockerfile-inline = <<EOT
FROM golang:1
RUN true
EOT
}

target "plain" {
  dockerfile-inline = "FROM quay.io/a/b"
}
