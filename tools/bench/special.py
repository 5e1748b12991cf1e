"""placeholder"""
CASES: dict = {}
