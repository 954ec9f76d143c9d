target "a" {
  contexts = { redis = "" }
}
