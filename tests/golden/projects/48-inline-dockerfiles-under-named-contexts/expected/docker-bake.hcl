target "t" {
  contexts = { redis = "docker-image://mirror.example.com/hub/library/redis:7" }
  dockerfile-inline = <<EOT
FROM redis
FROM mirror.example.com/hub/library/debian
EOT
}
