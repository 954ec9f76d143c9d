variable "F" { default = "mirror.example.com/hub/docker/dockerfile:1.4" }
target "default" {
  args = { BUILDKIT_SYNTAX = F }
  attest = ["type=sbom,generator=${F}-x"]
}
