"""What thoughts hold, as numbers: probabilities of concepts, search trees, lenses, geometry, attention to facts.

Every measurement takes a :class:`Thinker`, which ``Thinker.of(lcot.load(run))`` makes, and any number of examples. It
reads them as many at a time as the thinker allows, and gives plain records: ``dataclasses.asdict`` makes them JSON.
"""

from lcot.analysis.attention import FactAttention, GroupRow, fact_attention, group_table
from lcot.analysis.concepts import Candidate, ConceptValues, concept_values
from lcot.analysis.effects import Answered, EffectRow, EffectTable
from lcot.analysis.geometry import Collapse, ThoughtGeometry, collapse, thought_geometry
from lcot.analysis.interventions import Interventions
from lcot.analysis.lens import ThoughtLens, intermediate_results, thought_lenses
from lcot.analysis.outcomes import Outcome
from lcot.analysis.parallelism import Parallelism
from lcot.analysis.probes import NodeProducts, ProbeRow, node_products, probe_table
from lcot.analysis.thinker import Thinker
from lcot.analysis.tree import HeightRow, SearchTree, TreeNode, frontiers, height_table, search_tree
from lcot.analysis.weights import Weighed, WeightRow, WeightTable

__all__ = [
    "Answered",
    "Candidate",
    "Collapse",
    "ConceptValues",
    "EffectRow",
    "EffectTable",
    "FactAttention",
    "GroupRow",
    "HeightRow",
    "Interventions",
    "NodeProducts",
    "Outcome",
    "Parallelism",
    "ProbeRow",
    "SearchTree",
    "Thinker",
    "ThoughtGeometry",
    "ThoughtLens",
    "TreeNode",
    "Weighed",
    "WeightRow",
    "WeightTable",
    "collapse",
    "concept_values",
    "fact_attention",
    "frontiers",
    "group_table",
    "height_table",
    "intermediate_results",
    "node_products",
    "probe_table",
    "search_tree",
    "thought_geometry",
    "thought_lenses",
]
