from llm_assets_tests.loader.cache.conftest import proxy, s3

__all__ = ["proxy", "s3"]
