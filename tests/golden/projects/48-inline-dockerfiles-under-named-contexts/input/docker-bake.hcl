target "t" {
  contexts = { redis = "docker-image://redis:7" }
  dockerfile-inline = <<EOT
FROM redis
FROM debian
EOT
}
