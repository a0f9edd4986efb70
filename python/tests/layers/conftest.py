"""The checkout's fla, where none is installed."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
sys.path.append(os.path.dirname(os.path.dirname(HERE)))
